"""Depth of reference frames with known poses: begun at the sparse points, refined in many views at once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.config import Config
from dd_sfm.mvs.kernels.depth_planes import fit_planes
from dd_sfm.mvs.kernels.slanted_patches import PATCH, WIDE_SPACINGS
from dd_sfm.mvs.propagation import carried_planes
from dd_sfm.mvs.reference_grid import ReferenceGrid, grid_pixels
from dd_sfm.mvs.views import PosedViews, choose_views, next_frames
from dd_sfm.progress import Progress
from dd_sfm.runtime import HeapTrimmer

MIN_START_POINTS = 20
"""Fewest sparse points of a frame that its search can start from."""
START_DEPTHS = 4
"""Depths of so many nearest sparse points are tried for every pixel."""
PLANE_TOLERANCE = 0.02
"""Relative difference of inverse depths at which a neighbour counts half in a pixel's plane."""


@dataclass(frozen=True)
class Pass:
    """One round of refinement: pixels between samples, most steps, the longest of them, and one that ends it.

    Lengths are working pixels in whatever view moves the most.
    """

    spacing: float
    iterations: int
    most_px: float
    converged_px: float


COARSE, FINE = Pass(2.0, 6, 0.7, 0.2), Pass(1.0, 8, 0.5, 0.03)
FROM_POINTS = (COARSE, FINE)
"""Coarse patches pull in what starts a few pixels off; planes carry slant from one pass to the next."""
FROM_MAP = (FINE,)
"""Depths of another map of the frame know their slant; the poses have moved since by a fraction of a pixel."""
INTO_HOLES = tuple(Pass(spacing, 6, 0.7, 0.2) for spacing in WIDE_SPACINGS)
"""Where nothing was found, wider and wider patches start from the planes next to it."""


@dataclass(frozen=True)
class DepthMap(ReferenceGrid):
    """Depth of a reference frame on a grid of working pixels.

    ``planes`` (N, 3) float32, row by row: inverse depth, 0 where unknown, and its slopes per pixel; ``sigma`` (N,)
    float32: relative standard error of the depth as the patches predict it; ``visible`` (N, ceil(V / 8)) uint8: which
    of the views show the pixel's patch, in bits; ``baseline``: mean distance from the reference's camera to theirs,
    which tells the scale of the poses.
    """

    planes: NDArray[np.float32]
    sigma: NDArray[np.float32]
    visible: NDArray[np.uint8]
    baseline: float

    @property
    def grid(self) -> ReferenceGrid:
        """Its pixels alone, without what is known of them."""
        return ReferenceGrid(self.frame, self.shape, self.step, self.views)

    @property
    def known(self) -> NDArray[np.int64]:
        """Numbers (K,) of the pixels whose depth is known."""
        return np.flatnonzero(self.planes[:, 0] > 0)

    def planes_at(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Planes (K, 3) at other working pixels (K, 2): those of the nearest pixels of the grid, moved along them."""
        cell = np.clip(self.nearest(pixels), 0, np.array(self.shape[::-1]) - 1)
        planes = self.planes[self.index(cell)]
        moved = planes[:, 0] + (planes[:, 1:] * (pixels - self.centre(cell))).sum(1)
        planes[:, 0] = np.where((planes[:, 0] > 0) & (moved > 0), moved, 0)
        return np.asarray(planes, np.float32)

    def discontinuity(self) -> NDArray[np.float32]:
        """How far the farthest known depth that a pixel's patch reaches lies behind its own plane (N,), as a logarithm.

        Where this is not small the nearer side of a depth discontinuity is at hand, onto which patches pull pixels of
        the farther one. 0 where the depth is unknown.
        """
        inverse = self.planes[:, 0].reshape(self.shape)
        reach = max(1, math.ceil(PATCH // 2 / self.step))
        around = cv2.erode(np.where(inverse > 0, inverse, np.inf).astype(np.float32), np.ones((2 * reach + 1,) * 2))
        lowest = inverse - np.abs(self.planes[:, 1:]).sum(1).reshape(self.shape) * reach * self.step
        ratio = np.where(inverse > 0, np.maximum(lowest, 1e-9) / np.minimum(around, 1e9), 1)
        return np.log(np.maximum(ratio, 1)).ravel().astype(np.float32)


def depth_maps(
    views: PosedViews,
    config: Config,
    progress: Progress,
    *,
    step: int,
    label: str = "depth",
    before: Sequence[DepthMap] = (),
    again: bool = False,
    into_holes: bool = False,
) -> Iterator[DepthMap]:
    """Depth maps of every ``dense.every``-th frame that sees points, one by one, without those that cannot be searched.

    Args:
        views: Images, poses and sparse points.
        config: Spacing of the references, and correlation of a patch that counts as seen.
        progress: Shows the references.
        step: Working pixels between those whose depth is searched.
        label: What is shown beside the progress.
        before: Maps of the same frames with slightly other poses, to start from.
        again: Only refine the depths of maps of the same grid, in the same views.
        into_holes: See :func:`depth_map`.
    """
    # Poses stay where points come and go, so that every round has the same references.
    references = [f for f in sorted(views.poses)[:: config.dense.every] if f in views.points_seen]
    start = {m.frame: m for m in before}
    least = config.dense.min_correlation
    heap = HeapTrimmer()
    for frame in progress(references, total=len(references), label=label):
        found = depth_map(views, frame, step, least, start.get(frame), again=again, into_holes=into_holes)
        if found is not None:
            yield found
        heap.look()


def depth_map(
    views: PosedViews,
    frame: int,
    step: int,
    least_correlation: float,
    before: DepthMap | None = None,
    *,
    again: bool = False,
    into_holes: bool = False,
) -> DepthMap | None:
    """Search the depth of every ``step``-th usable pixel; None for a frame without views or points to start from.

    Args:
        views: Images, poses and sparse points.
        frame: The reference.
        step: Working pixels between those whose depth is searched.
        least_correlation: Of a patch that counts as seen in a view.
        before: A map of this frame with slightly other poses, to start from.
        again: Only refine the depths of a map of the same grid, in the same views; pixels that it does not know stay
            unknown.
        into_holes: Carry planes on to where no depth was found, and look there with wider patches, also in the frames
            next to the reference: what only few frames show is seen at small angles or not at all.
    """
    again = again and before is not None and before.step == step
    chosen = before.views if before is not None and again else choose_views(views, frame)
    if len(chosen) < 2 or len(views.points_seen[frame]) < MIN_START_POINTS:
        return None
    grid = views.grid
    shape = len(range(step // 2, grid.height, step)), len(range(step // 2, grid.width, step))
    near = next_frames(views, frame, chosen) if into_holes else ()
    reference = _Reference(views, frame, chosen, shape, step, near)
    planes, passes = reference.start(before, again=again)
    information = correlation = np.zeros(0, np.float32)
    for p in passes:
        inverse, information, correlation = reference.refine(planes, p)
        planes = reference.fit(inverse, information, 3 if p.spacing > 1 else 2)
    if near:
        correlation = np.pad(correlation, ((0, 0), (0, len(near))), constant_values=-1)
        chosen = (*chosen, *near)
    known = (planes[:, 0] > 0) & (information > 0)
    planes[~known] = 0
    if into_holes:
        for p in INTO_HOLES:
            reference.fill_holes(planes, information, correlation, p)
        known = planes[:, 0] > 0
    sigma = np.where(known, 1 / (np.sqrt(np.maximum(information, 1e-12)) * np.maximum(planes[:, 0], 1e-9)), np.inf)
    visible = np.packbits(correlation > least_correlation, axis=1)
    baseline = reference.baseline(chosen)
    return DepthMap(frame, shape, step, chosen, planes, sigma.astype(np.float32), visible, baseline)


class _Reference:
    """A frame, the views that it is searched in, and the grid of pixels whose depth is searched.

    ``near``: further views, of holes only.
    """

    def __init__(
        self,
        views: PosedViews,
        frame: int,
        chosen: tuple[int, ...],
        shape: tuple[int, int],
        step: int,
        near: tuple[int, ...] = (),
    ) -> None:
        self.views, self.frame, self.shape, self.step = views, frame, shape, step
        self.pixels = grid_pixels(shape, step)
        self.search, shown = views.images.on_device((frame, *chosen, *near))
        matrices, shifts = views.transfers(frame, (*chosen, *near))
        self.all_views = shown, matrices, shifts
        count = len(chosen)
        self.shown, self.matrices, self.shifts = shown[: count + 1], matrices[:count], shifts[:count]

    def start(self, before: DepthMap | None, *, again: bool) -> tuple[NDArray[np.float32], tuple[Pass, ...]]:
        """Planes (N, 3) to start from, and how they are refined."""
        if before is not None:
            rescale = np.float32(before.baseline / max(self.baseline(before.views), 1e-12))
            if again:
                return before.planes * rescale, FROM_MAP
            return self._complete(before.planes_at(self.pixels) * rescale), FROM_MAP
        planes = self._complete(np.zeros((len(self.pixels), 3), np.float32))
        return self.fit(planes[:, 0], np.ones(len(planes), np.float32), 3), FROM_POINTS

    def baseline(self, frames: tuple[int, ...]) -> float:
        """Mean distance from the reference's camera to those of other frames."""
        centres = self.views.centres
        return float(np.mean([np.linalg.norm(centres[f] - centres[self.frame]) for f in frames]))

    def _complete(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Try the depths of sparse points where no plane is known, and none where the frame cannot be used."""
        usable = self._usable()
        planes[~usable] = 0
        empty = np.flatnonzero(usable & (planes[:, 0] <= 0))
        hypotheses = _hypotheses(self.views, self.frame, self.pixels[empty])
        best, _ = self.search.choose(self.shown, self.matrices, self.shifts, self.pixels[empty], hypotheses, 2.0)
        planes[empty] = np.where(best[:, None] >= 0, hypotheses[np.arange(len(empty)), np.maximum(best, 0)], 0)
        return planes

    def refine(
        self, planes: NDArray[np.float32], how: Pass
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Inverse depths (N,), their information (N,), and correlations (N, V)."""
        return self.search.refine(
            self.shown, self.matrices, self.shifts, self.pixels, planes, how.spacing, how.iterations, how.most_px,
            how.converged_px,
        )  # fmt: skip

    def fill_holes(
        self,
        planes: NDArray[np.float32],
        information: NDArray[np.float32],
        correlation: NDArray[np.float32],
        how: Pass,
    ) -> None:
        """Search pixels without a depth from the planes that their neighbours carry on to them, in all views.

        Planes (N, 3), information (N,) and correlations (N, V) of the pixels that are found are entered.
        """
        empty = np.flatnonzero(self._usable() & (planes[:, 0] <= 0))
        carried = carried_planes(planes.reshape(*self.shape, 3), empty, self.step)
        reached = carried[:, :, 0].max(1) > 0
        empty, carried = empty[reached], carried[reached]
        best, _ = self.search.choose(*self.all_views, self.pixels[empty], carried, how.spacing)
        start = np.where(best[:, None] >= 0, carried[np.arange(len(empty)), np.maximum(best, 0)], 0)
        inverse, found, seen = self.search.refine(
            *self.all_views, self.pixels[empty], start, how.spacing, how.iterations, how.most_px, how.converged_px
        )
        together, weight = planes[:, 0].copy(), information.copy()
        together[empty], weight[empty] = inverse, found
        fitted = self.fit(together, weight, 3)[empty]
        good = (fitted[:, 0] > 0) & (found > 0)
        planes[empty[good]], information[empty[good]], correlation[empty[good]] = fitted[good], found[good], seen[good]

    def _usable(self) -> NDArray[np.bool_]:
        """Which pixels (N,) of the grid the frame's mask leaves."""
        columns, rows = self.pixels.astype(np.int64).T
        return np.asarray(self.views.images.mask(self.frame)[rows, columns])

    def fit(self, inverse: NDArray[np.float32], information: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
        """Robust planes (N, 3) through inverse depths (N,)."""
        found = fit_planes(inverse.reshape(self.shape), information.reshape(self.shape), radius, PLANE_TOLERANCE)
        return np.asarray(found.reshape(-1, 3) / np.array([1, self.step, self.step], np.float32), np.float32)


def _hypotheses(views: PosedViews, frame: int, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes (N, K, 3) to try: the depths of the nearest sparse points, facing the camera."""
    points = views.model.xyz[views.points_seen[frame]]
    xy, depth = views.project(points, frame)
    good = depth > 0
    if good.sum() < START_DEPTHS:
        return np.zeros((len(pixels), START_DEPTHS, 3), np.float32)
    index = np.asarray(cKDTree(xy[good]).query(pixels, k=START_DEPTHS)[1])
    hypotheses = np.zeros((len(pixels), START_DEPTHS, 3), np.float32)
    hypotheses[..., 0] = (1 / depth[good])[index]
    return hypotheses
