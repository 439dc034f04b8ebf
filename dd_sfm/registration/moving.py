"""The cloud that is registered: points with normals and the errors expected of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.errors import InputError
from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.scene import open_scene, scene_uncertainty
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.sfm.geometry import Similarity, width_share
from dd_sfm.sfm.point_cloud import point_normals
from dd_sfm.structures import FloatArray

FLAT_SHARE = 1e-6
"""A cloud that is narrower by this factor than it is long is a line."""
MIN_POINTS = 100
CELL_FACTORS = np.array([1, 1 << 21, 1 << 42])
"""Three whole numbers of a cell become one."""
SIGMA_SPAN = 8.0
"""Errors expected of points count as at most so many times more or less than the usual one."""
UNKNOWN_SIGMA_SHARE = 0.005
"""Error expected of a point of which nothing is known, as a share of the cloud's radius."""


@dataclass(frozen=True)
class Moving:
    """A cloud that is to be registered.

    ``xyz`` (P, 3); ``normals`` (P, 3) towards the cameras; ``sigma`` (P,) expected error of each in the cloud's unit;
    ``rgb`` (P, 3) uint8.
    """

    xyz: FloatArray
    normals: FloatArray
    sigma: FloatArray
    rgb: NDArray[np.uint8]

    def where(self, keep: NDArray[np.bool_]) -> "Moving":
        """Some of the points."""
        return Moving(self.xyz[keep], self.normals[keep], self.sigma[keep], self.rgb[keep])

    @property
    def centre(self) -> FloatArray:
        """Mean of the points (3,)."""
        return np.asarray(self.xyz.mean(0))

    @property
    def radius(self) -> float:
        """Root mean square distance of the points from their centre."""
        return float(np.sqrt(np.square(self.xyz - self.centre).sum(1).mean()))

    def thinned(self, count: int) -> "Moving":
        """At most ``count`` points, the surest of each cell of a grid: dense places weigh no more than others."""
        if len(self.xyz) <= count:
            return self
        low, high = 1e-3 * self.radius, 4 * self.radius
        for _ in range(10):
            size = float(np.sqrt(low * high))
            cells = np.floor(self.xyz / size).astype(np.int64) @ CELL_FACTORS
            low, high = (size, high) if len(np.unique(cells)) > count else (low, size)
        return self.where(best_per_cell(self.xyz / high, np.ones(len(self.xyz)), self.sigma))


def moved(cloud: Moving, by: Similarity) -> Moving:
    """The same cloud where a similarity transform puts it."""
    return replace(
        cloud,
        xyz=by.points(cloud.xyz),
        normals=cloud.normals @ by.rotation.T,
        sigma=by.scale * cloud.sigma,
    )


def open_moving(source: Path) -> Moving:
    """Read the cloud of a run or model folder, or of a PLY file with normals.

    Raises:
        InputError: If it cannot be read, or has too few points.
    """
    if source.is_file() or source.suffix.lower() == ".ply":
        cloud = read_cloud(source)
        found = _made(cloud.xyz, cloud.normals, cloud.rgb, cloud.uncertainty, None)
    else:
        scene = open_scene(source)
        model = scene.model
        centres = camera_centres(stack_poses(model.cam_from_world))
        eye = np.full(model.xyz.shape, np.nan)
        eye[model.point] = centres[model.frame]
        distance = np.linalg.norm(eye - model.xyz, axis=1)
        found = _made(model.xyz, point_normals(model), model.rgb, scene_uncertainty(scene), distance)
    if len(found.xyz) < MIN_POINTS:
        raise InputError(f"{source}: {len(found.xyz)} points; expected at least {MIN_POINTS} to register by")
    if not width_share(found.xyz) > FLAT_SHARE:
        raise InputError(f"{source}: all points lie on a line, or at one place; expected a piece of a surface")
    return found


def _made(
    xyz: FloatArray,
    normals: FloatArray,
    rgb: NDArray[np.uint8],
    uncertainty: FloatArray | None,
    distance: FloatArray | None,
) -> Moving:
    """A cloud of the finite points; errors that are not known are the usual one."""
    finite = np.asarray(np.isfinite(xyz).all(1))
    radius = float(np.sqrt(np.square(xyz[finite] - xyz[finite].mean(0)).sum(1).mean())) if finite.any() else 0.0
    if uncertainty is None:
        sigma = np.full(len(xyz), UNKNOWN_SIGMA_SHARE * radius)
    else:
        # Without cameras the distance of a point is not known, only how its error compares with others'.
        sigma = uncertainty * (radius if distance is None else distance)
    known = np.isfinite(sigma) & (sigma > 0)
    usual = float(np.median(sigma[known])) if known.any() else UNKNOWN_SIGMA_SHARE * radius
    sigma = np.clip(np.where(known, sigma, usual), usual / SIGMA_SPAN, usual * SIGMA_SPAN)
    return Moving(xyz, normals, sigma, rgb).where(finite)
