"""Depth maps fused: which of their pixels become points, every surface point once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.config import DenseConfig
from dd_sfm.mvs.consensus import consensus
from dd_sfm.mvs.depth_maps import DepthMap
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.mvs.uncertainty import GAP_ERROR_FACTOR, OWN_SHARE, SPACING_PER_ERROR, gap_error_factor
from dd_sfm.mvs.views import PosedViews
from dd_sfm.structures import FloatArray

MIN_SHARE, MIN_SHARE_IN_GAP = 0.5, 0.3
"""Least share of the votes that references in view could give: of a confident pixel, and of one that fills a gap."""
GAP_SPACING = 0.6
"""Spacing of points in gaps, relative to the width from which on a hole is a gap."""


@dataclass(frozen=True)
class FusedPixels:
    """Pixels of a depth map that become points.

    ``pixels`` (K,) indices into the map; ``planes`` (K, 3) inverse depth and its slopes; ``uncertainty`` (K,)
    relative.
    """

    pixels: NDArray[np.int64]
    planes: FloatArray
    uncertainty: FloatArray

    def take(self, keep: NDArray[np.bool_]) -> "FusedPixels":
        """Those under a mask."""
        return FusedPixels(self.pixels[keep], self.planes[keep], self.uncertainty[keep])

    def scale_uncertainty(self, factor: float) -> "FusedPixels":
        """The same with ``factor`` times the expected error."""
        return replace(self, uncertainty=factor * self.uncertainty)

    def concatenate(self, other: "FusedPixels") -> "FusedPixels":
        """Both, one after the other."""
        return FusedPixels(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.planes, other.planes]),
            np.concatenate([self.uncertainty, other.uncertainty]),
        )


def fuse(views: PosedViews, maps: Sequence[DepthMap], config: DenseConfig) -> list[FusedPixels]:
    """Choose per map the pixels that become points: confident ones, and less sure ones in the gaps between them."""
    confident, uncertain = consistent_pixels(views, maps, config)
    merge_px = config.merge_px * views.grid.scale
    confident = _deduplicate(views, maps, confident, merge_px)
    in_gaps = [
        pixels.scale_uncertainty(GAP_ERROR_FACTOR)
        for pixels in _in_gaps(views, maps, uncertain, confident, config.gap_px)
    ]
    in_gaps = _deduplicate(views, maps, in_gaps, GAP_SPACING * config.gap_px, SPACING_PER_ERROR)
    factors = [gap_error_factor(config.gap_px, m.step) / GAP_ERROR_FACTOR for m in maps]
    in_gaps = [pixels.scale_uncertainty(factor) for pixels, factor in zip(in_gaps, factors, strict=True)]
    return [a.concatenate(b).scale_uncertainty(OWN_SHARE) for a, b in zip(confident, in_gaps, strict=True)]


def consistent_pixels(
    views: PosedViews, maps: Sequence[DepthMap], config: DenseConfig
) -> tuple[list[FusedPixels], list[FusedPixels]]:
    """Per map the pixels that the references agree on: confident ones, and all that may fill a gap."""
    wanted = min(config.min_votes, 2 * (len(maps) - 1))
    confident, uncertain = [], []
    for number, depth_map in enumerate(maps):
        agreed = consensus(views, maps, number)
        expected = agreed.expected_error(depth_map.sigma[agreed.pixels])
        pixels = FusedPixels(agreed.pixels, agreed.planes, expected)
        confident.append(
            pixels.take((agreed.votes >= wanted) & (agreed.share >= MIN_SHARE) & (expected < config.max_uncertainty))
        )
        uncertain.append(
            pixels.take(
                (agreed.votes >= wanted / 2)
                & (agreed.share >= MIN_SHARE_IN_GAP)
                & (GAP_ERROR_FACTOR * expected < config.max_gap_uncertainty)
            )
        )
    return confident, uncertain


def _in_gaps(
    views: PosedViews,
    maps: Sequence[DepthMap],
    uncertain: list[FusedPixels],
    confident: list[FusedPixels],
    gap_px: float,
) -> list[FusedPixels]:
    """Those of ``uncertain`` with no point of ``confident`` within ``gap_px`` working pixels."""
    points = [_points(views, m, pixels) for m, pixels in zip(maps, confident, strict=True)]
    if not any(map(len, points)):
        return uncertain
    tree = cKDTree(np.concatenate(points))
    found = []
    for depth_map, pixels in zip(maps, uncertain, strict=True):
        reach = gap_px / (pixels.planes[:, 0] * views.camera.fx)
        found.append(pixels.take(np.asarray(tree.query(_points(views, depth_map, pixels))[0]) > reach))
    return found


def _points(views: PosedViews, depth_map: DepthMap, pixels: FusedPixels) -> NDArray[np.float64]:
    """Where pixels lie in space (K, 3)."""
    return views.world(depth_map.frame, depth_map.pixels[pixels.pixels], pixels.planes[:, 0])


def _deduplicate(
    views: PosedViews,
    maps: Sequence[DepthMap],
    pixels: list[FusedPixels],
    merge_px: float,
    spacing_per_error: float = 0.0,
) -> list[FusedPixels]:
    """Of pixels of several references on one surface point only the one with the smallest expected error.

    Points stay about ``merge_px`` working pixels apart, and ``spacing_per_error`` times their expected error.
    """
    xyz = np.concatenate([_points(views, m, p) for m, p in zip(maps, pixels, strict=True)])
    if not len(xyz):
        return pixels
    inverse = np.concatenate([p.planes[:, 0] for p in pixels])
    expected = np.concatenate([p.uncertainty for p in pixels])
    # Cells grow with distance, so that near and far surfaces thin alike.
    size = np.maximum(merge_px / views.camera.fx, spacing_per_error * expected) / inverse
    keep = best_per_cell(xyz, size, expected, across=spacing_per_error > 0)
    ends = np.cumsum([len(p.pixels) for p in pixels])[:-1]
    return [p.take(own) for p, own in zip(pixels, np.split(keep, ends), strict=True)]
