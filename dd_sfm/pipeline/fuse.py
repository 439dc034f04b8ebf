"""From depth maps to points: references made to agree, each surface point once, measured in its views."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import DenseConfig
from dd_sfm.ops.view_alignment import align_in_view
from dd_sfm.pipeline.densify import select_points
from dd_sfm.pipeline.depth_maps import DepthMap, PosedViews
from dd_sfm.progress import Progress
from dd_sfm.structures import FloatArray, Model

NEIGHBOURS = 8
"""References on both sides in time that vote on the depths of one."""
AGREE = 0.02
"""Relative difference in depth up to which another reference agrees; within half of it, it agrees twice."""
LEAST_SIGMA = 1e-3
"""Standard errors below this are not believed when depths are averaged."""


@dataclass(frozen=True)
class Consensus:
    """What neighbouring references say about the known pixels of one.

    ``pixels`` (K,) indices into the map; ``planes`` (K, 3) with the agreed inverse depth; ``votes`` (K,): 1 for each
    reference within 2 %, 1 more within 1 %; ``spread`` (K,) their relative deviation from the agreed depth.
    """

    pixels: NDArray[np.int64]
    planes: FloatArray
    votes: NDArray[np.int64]
    spread: FloatArray


def consensus(posed: PosedViews, maps: Sequence[DepthMap], number: int) -> Consensus:
    """Average each known depth with those of the references that agree, weighted by their inverse standard errors.

    References share views, so their errors are not independent: variances would promise too much, and weights by the
    inverse standard error measured best.
    """
    this = maps[number]
    known = np.flatnonzero(this.planes[:, 0] > 0)
    points = posed.world(this.frame, this.pixels[known], this.planes[known, 0])
    nearest = sorted(range(len(maps)), key=lambda k: abs(maps[k].frame - this.frame))[1 : NEIGHBOURS + 1]
    ratios = np.ones((len(nearest) + 1, len(known)))
    weights = np.zeros((len(nearest) + 1, len(known)))
    weights[0] = 1 / np.maximum(this.sigma[known], LEAST_SIGMA)
    votes = np.zeros(len(known), np.int64)
    for row, other in enumerate((maps[k] for k in nearest), start=1):
        ratio, sigma = _seen_by(posed, other, points)
        difference = np.abs(ratio - 1)
        votes += (difference < AGREE).astype(np.int64) + (difference < AGREE / 2)
        agrees = difference < AGREE
        ratios[row, agrees] = ratio[agrees]
        weights[row, agrees] = 1 / np.maximum(sigma[agrees], LEAST_SIGMA)
    total = weights.sum(0)
    mean = (ratios * weights).sum(0) / total
    spread = np.sqrt(((ratios - mean) ** 2 * weights).sum(0) / total)
    planes = this.planes[known] * mean[:, None]
    return Consensus(known, planes.astype(np.float32), votes, spread.astype(np.float32))


def _seen_by(
    posed: PosedViews, other: DepthMap, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse depth in another map over that of the points (N, 3) there, and its standard error; inf where unknown."""
    xy, depth = posed.project(points, other.frame)
    first, step = other.pixels[0], other.pixels[1, 0] - other.pixels[0, 0]
    cell = np.round((np.nan_to_num(xy, nan=-1e6) - first) / step).astype(np.int64)
    inside = (cell >= 0).all(1) & (cell < np.array(other.shape[::-1])).all(1) & (depth > 0)
    ratio, sigma = np.full(len(points), np.inf), np.full(len(points), np.inf)
    index = cell[inside, 1] * other.shape[1] + cell[inside, 0]
    planes = other.planes[index]
    away = xy[inside] - other.pixels[index]
    there = planes[:, 0] + (planes[:, 1:] * away).sum(1)
    ratio[inside] = np.where(planes[:, 0] > 0, there * depth[inside], np.inf)
    sigma[inside] = other.sigma[index]
    return ratio, sigma


@dataclass(frozen=True)
class Chosen:
    """Pixels of a map that become points: ``pixels`` (K,), ``planes`` (K, 3), ``uncertainty`` (K,) relative."""

    pixels: NDArray[np.int64]
    planes: FloatArray
    uncertainty: FloatArray

    def take(self, keep: NDArray[np.bool_]) -> "Chosen":
        """Those under a mask."""
        return Chosen(self.pixels[keep], self.planes[keep], self.uncertainty[keep])


def select(posed: PosedViews, maps: Sequence[DepthMap], config: DenseConfig, *, once: bool = True) -> list[Chosen]:
    """Per map the pixels that are sure enough and, with ``once``, that no other map shows better."""
    wanted = min(config.min_votes, 2 * (len(maps) - 1))
    sure = []
    for number, this in enumerate(maps):
        agreed = consensus(posed, maps, number)
        expected = predicted_error(this.sigma[agreed.pixels], agreed.spread, agreed.votes)
        keep = (agreed.votes >= wanted) & (expected < config.max_uncertainty)
        sure.append(Chosen(agreed.pixels[keep], agreed.planes[keep], expected[keep]))
    return _once(posed, maps, sure, config.merge_px) if once else sure


def predicted_error(sigma: FloatArray, spread: FloatArray, votes: NDArray[np.int64]) -> FloatArray:
    """Expected relative error of depths from the patches' standard error and the agreement of the references."""
    return np.sqrt(0.009**2 + (1.5 * sigma) ** 2 + spread**2) * (1 + 2.0 / (1 + votes))


def _once(posed: PosedViews, maps: Sequence[DepthMap], sure: list[Chosen], merge_px: float) -> list[Chosen]:
    """Of pixels of several references on one surface point only the one with the smallest expected error."""
    points = [posed.world(m.frame, m.pixels[s.pixels], s.planes[:, 0]) for m, s in zip(maps, sure, strict=True)]
    xyz, inverse = np.concatenate(points), np.concatenate([s.planes[:, 0] for s in sure])
    expected = np.concatenate([s.uncertainty for s in sure])
    owner = np.repeat(np.arange(len(maps)), [len(s.pixels) for s in sure])
    if not len(xyz):
        return sure
    # Cells grow with distance in steps of two, so that near and far surfaces thin alike.
    level = np.round(np.log2(merge_px / (inverse * posed.matrix[0, 0]))).astype(np.int64)
    cell = np.floor(xyz / np.exp2(level)[:, None]).astype(np.int64)
    order = np.lexsort((expected, cell[:, 2], cell[:, 1], cell[:, 0], level))
    key = np.column_stack([level, cell])[order]
    first = order[np.r_[True, (np.diff(key, axis=0) != 0).any(1)]]
    chosen = np.zeros(len(xyz), bool)
    chosen[first] = True
    return [s.take(chosen[owner == k]) for k, s in enumerate(sure)]


def measure(
    posed: PosedViews,
    maps: Sequence[DepthMap],
    chosen: Sequence[Chosen],
    config: DenseConfig,
    *,
    limit_px: float,
    progress: Progress,
) -> tuple[Model, FloatArray]:
    """Find every chosen pixel's own place in its views, and keep the points that at least three views show.

    Args:
        posed: Images and poses.
        maps: Depth maps.
        chosen: Pixels of each map.
        config: Least correlation.
        limit_px: Largest reprojection error of an observation in source pixels.
        progress: Shows the maps.

    Returns:
        The points with all observations, black, and their expected relative error (P,).
    """
    parts, expected, total = [], [], 0
    pairs = list(zip(maps, chosen, strict=True))
    for this, picked in progress(pairs, total=len(pairs), label="measure"):
        xyz, point, frame, xy, error = _measure_map(posed, this, picked, config, limit_px)
        keep = np.bincount(point, minlength=len(xyz)) >= 3
        number = np.cumsum(keep) - 1
        rows = keep[point]
        parts.append((xyz[keep], total + number[point[rows]], frame[rows], xy[rows], error[rows]))
        expected.append(picked.uncertainty[keep])
        total += int(keep.sum())
    if not parts:
        return select_points(posed.model, np.zeros(len(posed.model.xyz), bool)), np.zeros(0)
    xyz, point, frame, xy, error = (np.concatenate([p[k] for p in parts]) for k in range(5))
    order = np.lexsort((frame, point))
    count = np.maximum(np.bincount(point, minlength=total), 1)
    mean = np.bincount(point, weights=error, minlength=total) / count
    black = np.zeros((total, 3), np.uint8)
    model = Model(
        posed.model.camera, posed.model.cam_from_world, xyz, black, mean, point[order], frame[order], xy[order]
    )
    return model, np.concatenate(expected).astype(np.float64)


def _measure_map(
    posed: PosedViews, this: DepthMap, chosen: Chosen, config: DenseConfig, limit_px: float
) -> tuple[NDArray[np.float64], ...]:
    """Points (N, 3), and per observation its point, frame, source pixel and reprojection error."""
    grid = posed.grid
    pixels, planes = this.pixels[chosen.pixels], chosen.planes
    points = posed.world(this.frame, pixels, planes[:, 0])
    everything = np.arange(len(pixels))
    rows = [(everything, np.full(len(pixels), this.frame), pixels.astype(np.float64), np.zeros(len(pixels)))]
    reference = posed.image(this.frame)[0]
    matrices, shifts = posed.transfers(this.frame, this.views)
    for k, view in enumerate(this.views):
        asked = np.flatnonzero(this.correlation[chosen.pixels, k] > config.min_correlation)
        if not len(asked):
            continue
        image, mask = posed.image(view)
        place, score = align_in_view(reference, image, matrices[k], shifts[k], pixels[asked], planes[asked], 3, 3.0)
        cell = np.clip(np.round(place).astype(np.int64), 0, np.array(mask.shape[::-1]) - 1)
        predicted = posed.project(points[asked], view)[0]
        error = np.linalg.norm(place - predicted, axis=1) / grid.scale
        good = (score > config.min_correlation) & (error <= limit_px) & mask[cell[:, 1], cell[:, 0]]
        found = asked[good]
        rows.append((found, np.full(len(found), view), place[good].astype(np.float64), error[good]))
    point, frame, xy, error = (np.concatenate([r[k] for r in rows]) for k in range(4))
    return points, point, frame, grid.to_source(xy), error
