"""Dense depth of reference frames with known poses: begun at the sparse points, refined in many views at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres, camera_to_world, relative_pose, world_to_camera
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.kernels.depth_planes import fit_planes
from dd_sfm.mvs.kernels.depth_search import best_hypothesis, refine_depth
from dd_sfm.mvs.kernels.slanted_patches import PATCH
from dd_sfm.structures import Model

ANGLES_DEG = (1.5, 3.0, 5.0, 7.5, 10.5, 14.0, 18.0)
"""Triangulation angles that views are looked for at, to each side in time."""


@dataclass(frozen=True)
class DepthMap:
    """Depth of a reference frame on a grid of working pixels.

    ``pixels`` (N, 2) float32 working pixels, row by row over a grid of ``shape``; ``planes`` (N, 3) float32: inverse
    depth, 0 where unknown, and its slopes per pixel; ``sigma`` (N,) float32: relative standard error of the depth as
    the patches predict it; ``views``: frame positions searched, ``correlation`` (N, V) float32 in each.
    """

    frame: int
    shape: tuple[int, int]
    pixels: NDArray[np.float32]
    planes: NDArray[np.float32]
    sigma: NDArray[np.float32]
    views: tuple[int, ...]
    correlation: NDArray[np.float32]

    def beyond(self) -> NDArray[np.float32]:
        """How far the farthest known depth that a pixel's patch reaches lies behind its own plane (N,), as a logarithm.

        Where this is not small the nearer side of an edge in depth is at hand, onto which patches pull pixels of the
        farther one. 0 where the depth is unknown.
        """
        inverse = self.planes[:, 0].reshape(self.shape)
        step = float(self.pixels[1, 0] - self.pixels[0, 0]) if len(self.pixels) > 1 else 1.0
        reach = max(1, math.ceil(PATCH // 2 / step))
        around = cv2.erode(np.where(inverse > 0, inverse, np.inf).astype(np.float32), np.ones((2 * reach + 1,) * 2))
        lowest = inverse - np.abs(self.planes[:, 1:]).sum(1).reshape(self.shape) * reach * step
        ratio = np.where(inverse > 0, np.maximum(lowest, 1e-9) / np.minimum(around, 1e9), 1)
        return np.log(np.maximum(ratio, 1)).ravel().astype(np.float32)


class PosedViews:
    """Grey images and poses of a reconstruction; pixels and ``camera`` are those of the working image.

    Args:
        images: The run's frames.
        model: Poses, camera and points.
    """

    def __init__(self, images: GreyImages, model: Model) -> None:
        self.images, self.model, self.grid = images, model, images.grid
        grid = images.grid
        self.camera = model.camera.scaled(grid.scale).cropped(grid.origin, (grid.width, grid.height))
        self.poses = model.cam_from_world
        self.centres = {frame: camera_centres(pose) for frame, pose in self.poses.items()}
        order = np.argsort(model.frame, kind="stable")
        used, starts = np.unique(model.frame[order], return_index=True)
        parts = np.split(model.point[order], starts[1:]) if len(used) else []
        self.points_seen = dict(zip(used.tolist(), parts, strict=True))

    def image(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Grey (H, W) and usable area (H, W)."""
        return self.images[frame]

    def project(self, points: NDArray[Any], frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Working pixels (N, 2), NaN behind the camera, and depths (N,) of points (N, 3)."""
        return self.camera.project(world_to_camera(points, self.poses[frame]))

    def inside(self, xy: NDArray[Any], margin: float) -> NDArray[np.bool_]:
        """Which working pixels (N, 2) lie in the image."""
        limit = np.array(self.camera.size) - margin
        return np.asarray(((xy > margin) & (xy < limit)).all(1))

    def transfers(self, frame: int, views: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A (V, 3, 3) and b (V, 3) of :mod:`dd_sfm.mvs.kernels.depth_search`."""
        matrix = self.camera.matrix
        inverse = np.linalg.inv(matrix)
        moved = [relative_pose(self.poses[v], self.poses[frame]) for v in views]
        matrices = [matrix @ pose[:, :3] @ inverse for pose in moved]
        return np.array(matrices, np.float32), np.array([matrix @ pose[:, 3] for pose in moved], np.float32)

    def world(self, frame: int, pixels: NDArray[Any], inverse_depth: NDArray[Any]) -> NDArray[np.float64]:
        """Points (N, 3) of working pixels (N, 2) at inverse depths (N,) > 0."""
        return camera_to_world(self.camera.unproject(pixels) / inverse_depth[:, None], self.poses[frame])


def choose_views(posed: PosedViews, frame: int, least_overlap: float = 0.25) -> tuple[int, ...]:
    """Frames that see what a reference sees from angles spread over 1.5 to 18 degrees, before and after it."""
    points = posed.model.xyz[posed.points_seen[frame]]
    if len(points) > 2000:
        points = points[:: len(points) // 2000 + 1]
    own = points - posed.centres[frame]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    angles = {}
    for other in posed.poses:
        if other == frame:
            continue
        xy, depth = posed.project(points, other)
        seen = (depth > 0) & posed.inside(xy, 5.0)
        if seen.mean() < least_overlap:
            continue
        ray = points[seen] - posed.centres[other]
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        cosine = np.clip((own[seen] * ray).sum(1), -1, 1)
        angles[other] = math.degrees(float(np.median(np.arccos(cosine))))
    chosen = []
    for side in (-1, 1):
        left = {f: a for f, a in angles.items() if (f - frame) * side > 0}
        for wanted in ANGLES_DEG:
            best = min(left, key=lambda f: abs(left[f] - wanted), default=None)
            if best is not None and abs(left[best] - wanted) < max(1.0, 0.35 * wanted):
                chosen.append(best)
                del left[best]
    return tuple(chosen)


def depth_map(posed: PosedViews, frame: int, step: int) -> DepthMap | None:
    """Search the depth of every ``step``-th usable pixel; None for a frame without views or points to start from."""
    views = choose_views(posed, frame)
    if len(views) < 2 or len(posed.points_seen[frame]) < 20:
        return None
    grid = posed.grid
    rows, columns = np.mgrid[step // 2 : grid.height : step, step // 2 : grid.width : step]
    shape = rows.shape
    pixels = np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float32)
    reference, mask = posed.image(frame)
    images = np.stack([posed.image(v)[0] for v in views])
    matrices, shifts = posed.transfers(frame, views)
    hypotheses = _hypotheses(posed, frame, pixels)
    hypotheses[~mask[rows.ravel(), columns.ravel()]] = 0
    best, _ = best_hypothesis(reference, images, matrices, shifts, pixels, hypotheses, 2.0)
    planes = np.where(best[:, None] >= 0, hypotheses[np.arange(len(pixels)), np.maximum(best, 0)], 0)

    def refine(planes: NDArray[Any], spacing: float, iterations: int, most_px: float) -> Any:
        return refine_depth(
            reference, images, matrices, shifts, pixels, planes.astype(np.float32), spacing, iterations, most_px
        )

    def fit(inverse: NDArray[Any], information: NDArray[Any], radius: int) -> NDArray[np.float32]:
        found = fit_planes(inverse.reshape(shape), information.reshape(shape), radius, 0.02)
        return found.reshape(-1, 3) / np.array([1, step, step], np.float32)

    # Coarse patches pull in what starts a few pixels off; planes carry slant from one round to the next.
    for spacing, iterations, most_px in ((2.0, 5, 0.7), (2.0, 4, 0.7), (1.0, 5, 0.5)):
        inverse, information, correlation = refine(planes, spacing, iterations, most_px)
        planes = fit(inverse, information, 3 if spacing > 1 else 2)
    known = (planes[:, 0] > 0) & (information > 0)
    planes[~known] = 0
    sigma = np.where(known, 1 / (np.sqrt(np.maximum(information, 1e-12)) * np.maximum(planes[:, 0], 1e-9)), np.inf)
    return DepthMap(frame, shape, pixels, planes, sigma.astype(np.float32), views, correlation)


def _hypotheses(posed: PosedViews, frame: int, pixels: NDArray[np.float32], kinds: int = 4) -> NDArray[np.float32]:
    """Planes (N, K, 3) to try: the depths of the nearest sparse points, facing the camera."""
    points = posed.model.xyz[posed.points_seen[frame]]
    xy, depth = posed.project(points, frame)
    good = depth > 0
    index = np.asarray(cKDTree(xy[good]).query(pixels, k=kinds)[1])
    hypotheses = np.zeros((len(pixels), kinds, 3), np.float32)
    hypotheses[..., 0] = (1 / depth[good])[index]
    return hypotheses
