"""Fused pixels measured in the views that show them: points with observations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import DenseConfig
from dd_sfm.mvs.fusion import FusedPixels
from dd_sfm.mvs.kernels.slanted_patches import WIDE_SPACINGS
from dd_sfm.mvs.views import PosedViews
from dd_sfm.progress import Progress
from dd_sfm.runtime import HeapTrimmer
from dd_sfm.structures import FloatArray, Model

MIN_VIEWS = 3
"""Fewest views of a point, its own reference among them."""
ALIGNMENT_STEPS, MAX_SHIFT_PX = 3, 3.0
"""Gauss-Newton steps of an observation, and how far from the predicted place it may end, in working pixels."""


@dataclass(frozen=True)
class _Measured:
    """Points of one reference (N, 3), and per observation its point, frame, source pixel and reprojection error."""

    xyz: NDArray[np.float64]
    point: NDArray[np.int64]
    frame: NDArray[np.int32]
    xy: NDArray[np.float32]
    error: NDArray[np.float64]


def measure_points(
    views: PosedViews,
    fused: Sequence[FusedPixels],
    config: DenseConfig,
    *,
    limit_px: float,
    progress: Progress,
    wide: bool = True,
) -> tuple[list[Model], FloatArray]:
    """Find every fused pixel's own place in its views, and keep the points that at least three views show.

    Args:
        views: Images and poses.
        fused: Pixels of each reference.
        config: Least correlation.
        limit_px: Largest reprojection error of an observation in source pixels.
        progress: Shows the references.
        wide: Whether pixels that too few views show are looked for by wider patches.

    Returns:
        For each reference its points with all observations, black; and their expected relative errors, of all (P,).
    """
    parts: list[Model] = []
    expected: list[FloatArray] = []
    heap = HeapTrimmer()
    for pixels in progress(fused, total=len(fused), label="measure"):
        found = _measure_reference(views, pixels, config, limit_px, wide=wide)
        keep = np.bincount(found.point, minlength=len(found.xyz)) >= MIN_VIEWS
        parts.append(_kept(found, keep, views.model))
        expected.append(pixels.uncertainty[keep])
        heap.look()
    return parts, np.concatenate([*expected, np.zeros(0)])


def _kept(found: _Measured, keep: NDArray[np.bool_], model: Model) -> Model:
    """The points of one reference under a mask, with the poses and the camera of a model."""
    rows = np.flatnonzero(keep[found.point])
    point = (np.cumsum(keep) - 1)[found.point[rows]]
    xyz = found.xyz[keep]
    # The error in a point's own reference is zero by construction and no measurement.
    count = np.maximum(np.bincount(point, minlength=len(xyz)) - 1, 1)
    mean = np.bincount(point, weights=found.error[rows], minlength=len(xyz)) / count
    order = np.lexsort((found.frame[rows], point))
    rows, point, black = rows[order], point[order].astype(np.int32), np.zeros((len(xyz), 3), np.uint8)
    return Model(model.camera, model.cam_from_world, xyz, black, mean, point, found.frame[rows], found.xy[rows])


def _measure_reference(
    views: PosedViews, fused: FusedPixels, config: DenseConfig, limit_px: float, *, wide: bool
) -> _Measured:
    """The points of one reference, each observed there and wherever a view shows its patch."""
    grid, frame, chosen = views.grid, fused.grid.frame, fused.grid.views
    pixels, planes = fused.grid.pixels_at(fused.pixels), fused.planes.astype(np.float32)
    points, count = views.world(frame, pixels, planes[:, 0]), len(pixels)
    rows = [(np.arange(count), np.full(count, frame), pixels.astype(np.float64), np.zeros(count))]
    search, shown = views.images.on_device((frame, *chosen))
    matrices, shifts = views.transfers(frame, chosen)
    places, scores = search.align(
        shown, matrices, shifts, pixels, planes, fused.visible_in, ALIGNMENT_STEPS, MAX_SHIFT_PX
    )
    for spacing in WIDE_SPACINGS if wide else ():
        few = np.flatnonzero((scores > config.min_correlation).sum(1) < MIN_VIEWS - 1)
        anywhere = np.ones((len(few), len(chosen)), bool)
        places[few], scores[few] = search.align(
            shown, matrices, shifts, pixels[few], planes[few], anywhere, ALIGNMENT_STEPS, MAX_SHIFT_PX, spacing
        )
    for k, view in enumerate(chosen):
        found = np.flatnonzero(scores[:, k] > config.min_correlation)
        place = places[found, k].astype(np.float64)
        mask = views.images.mask(view)
        cell = np.clip(np.round(place).astype(np.int64), 0, np.array(mask.shape[::-1]) - 1)
        error = np.linalg.norm(place - views.project(points[found], view)[0], axis=1) / grid.scale
        good = (error <= limit_px) & mask[cell[:, 1], cell[:, 0]]
        rows.append((found[good], np.full(int(good.sum()), view), place[good], error[good]))
    point, seen_in, xy, error = (np.concatenate([r[k] for r in rows]) for k in range(4))
    return _Measured(points, point, seen_in.astype(np.int32), grid.to_source(xy).astype(np.float32), error)
