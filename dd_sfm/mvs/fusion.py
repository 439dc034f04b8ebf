"""From depth maps to points: references made to agree, each surface point once, measured in its views."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.config import DenseConfig
from dd_sfm.mvs.depth_maps import DepthMap, PosedViews
from dd_sfm.mvs.kernels.slanted_patches import PATCH
from dd_sfm.mvs.kernels.view_alignment import align_in_view
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.ops.texture import texture_lean
from dd_sfm.progress import Progress
from dd_sfm.sfm.triangulation import select_points
from dd_sfm.structures import FloatArray, Model

NEIGHBOURS = 8
"""References on both sides in time that vote on the depths of one."""
AGREE = 0.02
"""Relative difference in depth up to which another reference agrees; within half of it, it agrees twice."""
MIN_SHARE, MIN_SHARE_GAP = 0.5, 0.3
"""Least share of the votes that references in view could give: of a sure pixel, and of one that fills a gap."""
EDGE = 0.06
"""Logarithm of depths from which on a neighbour lies so far behind a pixel that its depth is in doubt."""
LEAN_PX, MOST_LEAN = 2.0, 6.0
"""Working pixels from a pixel to its patch's texture at which its depth is twice as doubtful, and the most doubt.
Measured on a rendered colon: errors grow by the factors 1.1, 1.4, 2.4, 4 and 5 from 1.25 to 4 pixels."""
GAP_SPACING = 0.6
"""Spacing of points in gaps, relative to the width from which on a hole is a gap."""
GAP_DOUBT = 2.0
"""What fills a gap is so many times less exact than it looks: where no sure depth is, something is wrong.
Measured on rendered clips, from 1.6 to 5 % of the distance, for depths and for tracks."""
UNSURE_SPACING = 0.25
"""Spacing of points in gaps, relative to their expected error: nearer to one another they tell nothing more."""
LEAST_SIGMA = 1e-3
"""Standard errors below this are not believed when depths are averaged."""


@dataclass(frozen=True)
class Consensus:
    """What neighbouring references say about the known pixels of one.

    ``pixels`` (K,) indices into the map; ``planes`` (K, 3) with the agreed inverse depth; ``votes`` (K,): 1 for each
    reference within 2 %, 1 more within 1 %; ``share`` (K,) of the votes that the references in view could give;
    ``spread`` (K,) their relative deviation from the agreed depth; ``beyond`` (K,) as :meth:`DepthMap.beyond` has it;
    ``lean`` (K,) working pixels to the texture that the depth was found by.
    """

    pixels: NDArray[np.int64]
    planes: FloatArray
    votes: NDArray[np.int64]
    share: FloatArray
    spread: FloatArray
    beyond: FloatArray
    lean: FloatArray

    def expected_error(self, sigma: FloatArray) -> FloatArray:
        """Relative error (K,) that about half of such depths stay below, from the patches' standard errors (K,).

        Fitted to rendered clips of a sinus and a colon, where it holds from 0.4 to 1.5 %: the patches alone promise too
        much, and what the references disagree by, how many of them do, how slanted the surface is, whether it ends
        near by and whether all texture lies to one side say more. Where it is applied to what is left for gaps,
        GAP_DOUBT comes on top.
        """
        slant = np.hypot(self.planes[:, 1], self.planes[:, 2]) / self.planes[:, 0]
        random = np.sqrt(0.002**2 + (0.19 * sigma) ** 2 + (0.75 * self.spread) ** 2)
        edge = np.maximum(1, self.beyond / EDGE)
        lean = np.minimum(1 + (self.lean / LEAN_PX) ** 3, MOST_LEAN)
        return np.asarray(random * np.exp(0.92 * (1 - self.share)) * (1 + slant / 0.006) ** 0.75 * edge * lean)


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
    votes, possible = np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)
    for row, other in enumerate((maps[k] for k in nearest), start=1):
        ratio, sigma, seen = _seen_by(posed, other, points)
        possible += 2 * seen
        difference = np.abs(ratio - 1)
        votes += (difference < AGREE).astype(np.int64) + (difference < AGREE / 2)
        agrees = difference < AGREE
        ratios[row, agrees] = ratio[agrees]
        weights[row, agrees] = 1 / np.maximum(sigma[agrees], LEAST_SIGMA)
    total = weights.sum(0)
    mean = (ratios * weights).sum(0) / total
    spread = np.sqrt(((ratios - mean) ** 2 * weights).sum(0) / total)
    planes = this.planes[known] * mean[:, None]
    share = np.minimum(votes / np.maximum(possible, 2), 1.0)
    place = np.round(this.pixels[known]).astype(np.int64)
    lean = texture_lean(posed.image(this.frame)[0], PATCH)[place[:, 1], place[:, 0]]
    return Consensus(known, planes.astype(np.float32), votes, share, spread, this.beyond()[known], lean)


def _seen_by(
    posed: PosedViews, other: DepthMap, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Inverse depth in another map over that of the points (N, 3) there, inf where unknown; its standard error; and
    whether the points lie in the usable part of that frame.
    """  # fmt: skip
    xy, depth = posed.project(points, other.frame)
    first, step = other.pixels[0], other.pixels[1, 0] - other.pixels[0, 0]
    cell = np.round((np.nan_to_num(xy, nan=-1e6) - first) / step).astype(np.int64)
    inside = (cell >= 0).all(1) & (cell < np.array(other.shape[::-1])).all(1) & (depth > 0)
    ratio, sigma = np.full(len(points), np.inf), np.full(len(points), np.inf)
    seen = np.zeros(len(points), bool)
    index = cell[inside, 1] * other.shape[1] + cell[inside, 0]
    planes = other.planes[index]
    away = xy[inside] - other.pixels[index]
    there = planes[:, 0] + (planes[:, 1:] * away).sum(1)
    ratio[inside] = np.where(planes[:, 0] > 0, there * depth[inside], np.inf)
    sigma[inside] = other.sigma[index]
    place = np.round(other.pixels[index]).astype(np.int64)
    seen[inside] = posed.image(other.frame)[1][place[:, 1], place[:, 0]]
    return ratio, sigma, seen


@dataclass(frozen=True)
class Chosen:
    """Pixels of a map that become points: ``pixels`` (K,), ``planes`` (K, 3), ``uncertainty`` (K,) relative."""

    pixels: NDArray[np.int64]
    planes: FloatArray
    uncertainty: FloatArray

    def take(self, keep: NDArray[np.bool_]) -> "Chosen":
        """Those under a mask."""
        return Chosen(self.pixels[keep], self.planes[keep], self.uncertainty[keep])

    def less_sure(self, factor: float) -> "Chosen":
        """The same with a larger expected error."""
        return Chosen(self.pixels, self.planes, factor * self.uncertainty)

    def and_also(self, other: "Chosen") -> "Chosen":
        """Both, one after the other."""
        parts = zip(
            (self.pixels, self.planes, self.uncertainty), (other.pixels, other.planes, other.uncertainty), strict=True
        )
        return Chosen(*(np.concatenate(part) for part in parts))


def select(posed: PosedViews, maps: Sequence[DepthMap], config: DenseConfig) -> list[Chosen]:
    """Per map the pixels that become points, every surface point once: sure ones, and less sure ones where none is."""
    sure, fair = agreed_pixels(posed, maps, config)
    merge_px = config.merge_px * posed.grid.scale
    first = _once(posed, maps, sure, merge_px)
    gaps = [c.less_sure(GAP_DOUBT) for c in _in_gaps(posed, maps, fair, first, config.gap_px)]
    rest = _once(posed, maps, gaps, GAP_SPACING * config.gap_px, UNSURE_SPACING)
    return [a.and_also(b) for a, b in zip(first, rest, strict=True)]


def agreed_pixels(
    posed: PosedViews, maps: Sequence[DepthMap], config: DenseConfig
) -> tuple[list[Chosen], list[Chosen]]:
    """Per map the pixels that the references agree on: sure ones, and all that may fill a gap."""
    wanted = min(config.min_votes, 2 * (len(maps) - 1))
    sure, fair = [], []
    for number, this in enumerate(maps):
        agreed = consensus(posed, maps, number)
        expected = agreed.expected_error(this.sigma[agreed.pixels])
        every = Chosen(agreed.pixels, agreed.planes, expected)
        sure.append(
            every.take((agreed.votes >= wanted) & (agreed.share >= MIN_SHARE) & (expected < config.max_uncertainty))
        )
        fair.append(
            every.take(
                (agreed.votes >= wanted / 2)
                & (agreed.share >= MIN_SHARE_GAP)
                & (GAP_DOUBT * expected < config.max_gap_uncertainty)
            )
        )
    return sure, fair


def _in_gaps(
    posed: PosedViews, maps: Sequence[DepthMap], fair: list[Chosen], sure: list[Chosen], gap_px: float
) -> list[Chosen]:
    """Those of ``fair`` with no point of ``sure`` within ``gap_px`` working pixels."""
    points = [_places(posed, m, s) for m, s in zip(maps, sure, strict=True)]
    if not any(map(len, points)):
        return fair
    tree = cKDTree(np.concatenate(points))
    found = []
    for this, chosen in zip(maps, fair, strict=True):
        reach = gap_px / (chosen.planes[:, 0] * posed.camera.fx)
        found.append(chosen.take(np.asarray(tree.query(_places(posed, this, chosen))[0]) > reach))
    return found


def _places(posed: PosedViews, this: DepthMap, chosen: Chosen) -> NDArray[np.float64]:
    return posed.world(this.frame, this.pixels[chosen.pixels], chosen.planes[:, 0])


def _once(
    posed: PosedViews, maps: Sequence[DepthMap], sure: list[Chosen], merge_px: float, unsure: float = 0.0
) -> list[Chosen]:
    """Of pixels of several references on one surface point only the one with the smallest expected error.

    Points stay about ``merge_px`` working pixels apart, and ``unsure`` times their expected error.
    """
    points = [_places(posed, m, s) for m, s in zip(maps, sure, strict=True)]
    xyz, inverse = np.concatenate(points), np.concatenate([s.planes[:, 0] for s in sure])
    expected = np.concatenate([s.uncertainty for s in sure])
    owner = np.repeat(np.arange(len(maps)), [len(s.pixels) for s in sure])
    if not len(xyz):
        return sure
    # Cells grow with distance, so that near and far surfaces thin alike.
    size = np.maximum(merge_px / posed.camera.fx, unsure * expected) / inverse
    chosen = best_per_cell(xyz, size, expected, across=unsure > 0)
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
    # The error in a point's own reference is zero by construction and no measurement.
    count = np.maximum(np.bincount(point, minlength=total) - 1, 1)
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
