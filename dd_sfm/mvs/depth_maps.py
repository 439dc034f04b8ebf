"""Depth of reference frames with known poses: begun at the sparse points, refined in many views at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.config import Config
from dd_sfm.mvs.kernels.depth_planes import fit_planes
from dd_sfm.mvs.kernels.slanted_patches import PATCH
from dd_sfm.mvs.views import PosedViews, choose_views
from dd_sfm.progress import Progress

MIN_START_POINTS = 20
"""Fewest sparse points of a frame that its search can start from."""
START_DEPTHS = 4
"""Depths of so many nearest sparse points are tried for every pixel."""
PLANE_TOLERANCE = 0.02
"""Relative difference of inverse depths at which a neighbour counts half in a pixel's plane."""


@dataclass(frozen=True)
class DepthMap:
    """Depth of a reference frame on a grid of working pixels.

    ``pixels`` (N, 2) float32 working pixels, row by row over a grid of ``shape``; ``planes`` (N, 3) float32: inverse
    depth, 0 where unknown, and its slopes per pixel; ``sigma`` (N,) float32: relative standard error of the depth as
    the patches predict it; ``views``: frame positions searched, ``correlation`` (N, V) float16 in each, most of a
    map's memory.
    """

    frame: int
    shape: tuple[int, int]
    pixels: NDArray[np.float32]
    planes: NDArray[np.float32]
    sigma: NDArray[np.float32]
    views: tuple[int, ...]
    correlation: NDArray[np.float16]

    def discontinuity(self) -> NDArray[np.float32]:
        """How far the farthest known depth that a pixel's patch reaches lies behind its own plane (N,), as a logarithm.

        Where this is not small the nearer side of a depth discontinuity is at hand, onto which patches pull pixels of
        the farther one. 0 where the depth is unknown.
        """
        inverse = self.planes[:, 0].reshape(self.shape)
        step = float(self.pixels[1, 0] - self.pixels[0, 0]) if len(self.pixels) > 1 else 1.0
        reach = max(1, math.ceil(PATCH // 2 / step))
        around = cv2.erode(np.where(inverse > 0, inverse, np.inf).astype(np.float32), np.ones((2 * reach + 1,) * 2))
        lowest = inverse - np.abs(self.planes[:, 1:]).sum(1).reshape(self.shape) * reach * step
        ratio = np.where(inverse > 0, np.maximum(lowest, 1e-9) / np.minimum(around, 1e9), 1)
        return np.log(np.maximum(ratio, 1)).ravel().astype(np.float32)


def depth_maps(
    views: PosedViews, config: Config, progress: Progress, *, step: int, label: str = "depth"
) -> Sequence[DepthMap]:
    """Depth maps of every ``dense.every``-th frame that sees points, without those that cannot be searched.

    Args:
        views: Images, poses and sparse points.
        config: Spacing of the references.
        progress: Shows the references.
        step: Working pixels between those whose depth is searched.
        label: What is shown beside the progress.
    """
    references = sorted(views.points_seen)[:: config.dense.every]
    found = (depth_map(views, f, step) for f in progress(references, total=len(references), label=label))
    return [m for m in found if m is not None]


def depth_map(views: PosedViews, frame: int, step: int) -> DepthMap | None:
    """Search the depth of every ``step``-th usable pixel; None for a frame without views or points to start from."""
    chosen = choose_views(views, frame)
    if len(chosen) < 2 or len(views.points_seen[frame]) < MIN_START_POINTS:
        return None
    grid = views.grid
    rows, columns = np.mgrid[step // 2 : grid.height : step, step // 2 : grid.width : step]
    shape = rows.shape
    pixels = np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float32)
    search, shown = views.images.on_device((frame, *chosen))
    matrices, shifts = views.transfers(frame, chosen)
    hypotheses = _hypotheses(views, frame, pixels)
    hypotheses[~views.images.mask(frame)[rows.ravel(), columns.ravel()]] = 0
    best, _ = search.choose(shown, matrices, shifts, pixels, hypotheses, 2.0)
    planes = np.where(best[:, None] >= 0, hypotheses[np.arange(len(pixels)), np.maximum(best, 0)], 0)

    def refine(planes: NDArray[Any], spacing: float, iterations: int, most_px: float) -> Any:
        return search.refine(shown, matrices, shifts, pixels, planes.astype(np.float32), spacing, iterations, most_px)

    def fit(inverse: NDArray[Any], information: NDArray[Any], radius: int) -> NDArray[np.float32]:
        found = fit_planes(inverse.reshape(shape), information.reshape(shape), radius, PLANE_TOLERANCE)
        return np.asarray(found.reshape(-1, 3) / np.array([1, step, step], np.float32), np.float32)

    # Coarse patches pull in what starts a few pixels off; planes carry slant from one round to the next.
    for spacing, iterations, most_px in ((2.0, 5, 0.7), (2.0, 4, 0.7), (1.0, 5, 0.5)):
        inverse, information, correlation = refine(planes, spacing, iterations, most_px)
        planes = fit(inverse, information, 3 if spacing > 1 else 2)
    known = (planes[:, 0] > 0) & (information > 0)
    planes[~known] = 0
    sigma = np.where(known, 1 / (np.sqrt(np.maximum(information, 1e-12)) * np.maximum(planes[:, 0], 1e-9)), np.inf)
    return DepthMap(frame, shape, pixels, planes, sigma.astype(np.float32), chosen, correlation.astype(np.float16))


def _hypotheses(views: PosedViews, frame: int, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes (N, K, 3) to try: the depths of the nearest sparse points, facing the camera."""
    points = views.model.xyz[views.points_seen[frame]]
    xy, depth = views.project(points, frame)
    good = depth > 0
    index = np.asarray(cKDTree(xy[good]).query(pixels, k=START_DEPTHS)[1])
    hypotheses = np.zeros((len(pixels), START_DEPTHS, 3), np.float32)
    hypotheses[..., 0] = (1 / depth[good])[index]
    return hypotheses
