"""Depth maps fused: which of their pixels become points, every surface point once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.config import DenseConfig
from dd_sfm.mvs.consensus import NEIGHBOURS, consensus
from dd_sfm.mvs.depth_maps import DepthMap
from dd_sfm.mvs.reference_grid import ReferenceGrid
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.mvs.uncertainty import GAP_DEPTH_FACTOR, SPACING_PER_ERROR, gap_error_factor
from dd_sfm.mvs.views import PosedViews
from dd_sfm.structures import FloatArray

MIN_SHARE, MIN_SHARE_IN_GAP = 0.5, 0.3
"""Least share of the votes that references in view could give: of a confident pixel, and of one that fills a gap."""
LEAST_CONFIRMING = 2
"""Votes by which others confirm a depth, whatever the settings ask for."""
GAP_SPACING = 0.6
"""Spacing of points in gaps, relative to the width from which on a hole is a gap."""
MERGED_AT_ONCE = 16
"""References whose points are merged before those of all are."""


@dataclass(frozen=True)
class FusedPixels:
    """Pixels of a reference that become points.

    ``grid``: all of its pixels; ``pixels`` (K,) their numbers in it; ``planes`` (K, 3) inverse depth and its slopes;
    ``uncertainty`` (K,) relative; ``visible`` (K, ceil(V / 8)) as in a depth map.
    """

    grid: ReferenceGrid
    pixels: NDArray[np.int32]
    planes: FloatArray
    uncertainty: FloatArray
    visible: NDArray[np.uint8]

    @property
    def visible_in(self) -> NDArray[np.bool_]:
        """Which views (K, V) show the patches of the pixels."""
        return np.unpackbits(self.visible, axis=1, count=len(self.grid.views)).astype(bool)

    def take(self, keep: NDArray[np.bool_]) -> "FusedPixels":
        """Those under a mask."""
        return FusedPixels(self.grid, self.pixels[keep], self.planes[keep], self.uncertainty[keep], self.visible[keep])

    def scale_uncertainty(self, factor: float) -> "FusedPixels":
        """The same with ``factor`` times the expected error."""
        return replace(self, uncertainty=factor * self.uncertainty)

    def concatenate(self, other: "FusedPixels") -> "FusedPixels":
        """Both, one after the other."""
        return FusedPixels(
            self.grid,
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.planes, other.planes]),
            np.concatenate([self.uncertainty, other.uncertainty]),
            np.concatenate([self.visible, other.visible]),
        )


@dataclass(frozen=True)
class AgreedPixels:
    """Pixels of a reference that others agree on: masks (K,) of the ``confident`` ones, and of those for gaps.

    ``confirmed``: how many of all pixels with a depth others confirm, whether these are sure enough or not.
    """

    pixels: FusedPixels
    confident: NDArray[np.bool_]
    fills: NDArray[np.bool_]
    confirmed: int


@dataclass(frozen=True)
class Fusion:
    """Per map the pixels that become points, and how many pixels of all maps others confirm."""

    chosen: list[FusedPixels]
    confirmed: int


def fuse(views: PosedViews, maps: Iterable[DepthMap], config: DenseConfig) -> Fusion:
    """Choose per map the pixels that become points: confident ones, and less sure ones in the gaps between them.

    Of the maps, which may be made while they are asked for, only those that vote on one another are in memory.
    """
    merge_px = config.merge_px * views.grid.scale
    agreed, confirmed = [], 0
    references = consistent_pixels(views, maps, config)
    while block := list(islice(references, MERGED_AT_ONCE)):
        confirmed += sum(a.confirmed for a in block)
        # What gives way in its block also does among all.
        kept = _deduplicate(views, [a.pixels.take(a.confident) for a in block], merge_px)
        agreed += [replace(a, confident=_within(a.confident, keep)) for a, keep in zip(block, kept, strict=True)]
    confident = [a.pixels.take(a.confident) for a in agreed]
    confident = _taken(confident, _deduplicate(views, confident, merge_px))
    in_gaps = [pixels.scale_uncertainty(GAP_DEPTH_FACTOR) for pixels in _in_gaps(views, agreed, confident, config)]
    del agreed
    kept = _deduplicate(views, in_gaps, GAP_SPACING * config.gap_px, SPACING_PER_ERROR)
    found = []
    for sure, fills in zip(confident, _taken(in_gaps, kept), strict=True):
        factor = gap_error_factor(config.gap_px, fills.grid.step, GAP_DEPTH_FACTOR) / GAP_DEPTH_FACTOR
        found.append(sure.concatenate(fills.scale_uncertainty(factor)))
    return Fusion(found, confirmed)


def consistent_pixels(views: PosedViews, maps: Iterable[DepthMap], config: DenseConfig) -> Iterator[AgreedPixels]:
    """Per map the pixels that the references agree on, as soon as those that vote on it are there."""
    source = iter(maps)
    near, number = list(islice(source, NEIGHBOURS + 1)), 0
    # From so many maps on that not all are here yet, more votes can be given than any setting asks for.
    wanted = min(config.min_votes, 2 * (len(near) - 1))
    while number < len(near):
        depth_map, agreed = near[number], consensus(views, near, number)
        expected = agreed.expected_error(depth_map.sigma[agreed.pixels])
        is_sure = (agreed.votes >= wanted) & (agreed.share >= MIN_SHARE) & (expected < config.max_uncertainty)
        fills = (
            (agreed.votes >= wanted / 2)
            & (agreed.share >= MIN_SHARE_IN_GAP)
            & (GAP_DEPTH_FACTOR * expected < config.max_gap_uncertainty)
        )
        either = is_sure | fills
        at = agreed.pixels[either]
        pixels = FusedPixels(
            depth_map.grid, at.astype(np.int32), agreed.planes[either], expected[either], depth_map.visible[at]
        )
        confirmed = (agreed.votes >= LEAST_CONFIRMING) & (agreed.share >= MIN_SHARE_IN_GAP)
        yield AgreedPixels(pixels, is_sure[either], fills[either], int(confirmed.sum()))
        near += islice(source, 1)
        if number < NEIGHBOURS:
            number += 1
        else:
            del near[0]


def _taken(pixels: list[FusedPixels], keep: list[NDArray[np.bool_]]) -> list[FusedPixels]:
    return [p.take(own) for p, own in zip(pixels, keep, strict=True)]


def _within(mask: NDArray[np.bool_], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of a mask (K,) is left when a further one is laid over what lies under it."""
    left = mask.copy()
    left[mask] = keep
    return left


def _in_gaps(
    views: PosedViews, agreed: list[AgreedPixels], confident: list[FusedPixels], config: DenseConfig
) -> list[FusedPixels]:
    """Those that may fill gaps with no point of ``confident`` within ``gap_px`` working pixels."""
    points = [_points(views, pixels) for pixels in confident]
    if not any(map(len, points)):
        return [a.pixels.take(a.fills) for a in agreed]
    tree = cKDTree(np.concatenate(points))
    del points
    found = []
    for a in agreed:
        pixels = a.pixels.take(a.fills)
        reach = config.gap_px / (pixels.planes[:, 0] * views.camera.fx)
        found.append(pixels.take(np.asarray(tree.query(_points(views, pixels))[0]) > reach))
    return found


def _points(views: PosedViews, pixels: FusedPixels) -> NDArray[np.float64]:
    """Where pixels lie in space (K, 3)."""
    return views.world(pixels.grid.frame, pixels.grid.pixels_at(pixels.pixels), pixels.planes[:, 0])


def _deduplicate(
    views: PosedViews, pixels: list[FusedPixels], merge_px: float, spacing_per_error: float = 0.0
) -> list[NDArray[np.bool_]]:
    """Of pixels of several references on one surface point only the one with the smallest expected error.

    Points stay about ``merge_px`` working pixels apart, and ``spacing_per_error`` times their expected error.

    Returns:
        For each reference which of its pixels stay.
    """
    ends = np.cumsum([len(p.pixels) for p in pixels]).tolist()
    if not ends or not ends[-1]:
        return [np.zeros(0, bool) for _ in pixels]
    xyz = np.concatenate([_points(views, p) for p in pixels])
    inverse = np.concatenate([p.planes[:, 0] for p in pixels])
    expected = np.concatenate([p.uncertainty for p in pixels])
    # Cells grow with distance, so that near and far surfaces thin alike.
    size = np.maximum(merge_px / views.camera.fx, spacing_per_error * expected) / inverse
    return np.split(best_per_cell(xyz, size, expected, across=spacing_per_error > 0), ends[:-1])
