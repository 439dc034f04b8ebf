"""Matching of two views: search, mutual check, agreement with neighbours, sub-pixel alignment of patches."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.config import MatchConfig
from dd_sfm.features.consensus import local_affine
from dd_sfm.features.patch_alignment import align_patches
from dd_sfm.features.search_map import SearchMap, search_map
from dd_sfm.ops.compiled import Int64Array
from dd_sfm.ops.packed_image import pack_image
from dd_sfm.ops.sampling import cell_to_image, image_to_cell


@dataclass(frozen=True)
class MatchView:
    """What matching needs of a view: ``map``, its descriptors; ``image`` (H, W) from :func:`packed_grey`."""

    map: SearchMap
    image: Int64Array


@dataclass(frozen=True)
class ViewMatches:
    """Matches that passed all checks: ``index`` (M,) of the query points, their matches ``xy`` (M, 2) in pixels,
    ``score`` (M,), and ``residual_px`` (M,), their distance from what the motion of their neighbours predicts.

    ``inlier_ratio`` is the share of all points that had a back-match and agreed with their neighbours.
    """

    index: Tensor
    xy: Tensor
    score: Tensor
    residual_px: Tensor
    inlier_ratio: float


def packed_grey(image: NDArray[Any]) -> Int64Array:
    """RGB (H, W, 3) uint8 -> its smoothed grey image (H, W), packed, as patches are aligned on."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return pack_image(cv2.GaussianBlur(grey, (0, 0), 1.0))


def match_view(
    descriptors: Tensor, usable: Tensor, image: NDArray[Any], config: MatchConfig, *, bfloat16: bool = False
) -> MatchView:
    """Prepare a view for matching; once for all views that it is matched with.

    Args:
        descriptors: (D, H // stride, W // stride) of unit norm.
        usable: The same cells, bool.
        image: RGB (H, W, 3) uint8.
        config: Kind of search.
        bfloat16: Let the coarse search choose its candidates in half precision.
    """
    return MatchView(search_map(descriptors, usable, config, bfloat16=bfloat16), packed_grey(image))


def confidence(sigma_px: Tensor) -> Tensor:
    """A score in (0, 1] from the standard error of aligned patches: one half at a third of a pixel."""
    return 1.0 / (1.0 + (3.0 * sigma_px) ** 2)


@torch.inference_mode()
def match_views(
    source: MatchView, target: MatchView, xy: NDArray[Any], config: MatchConfig, stride: int
) -> ViewMatches:
    """Match points (N, 2) of a view in another, in pixels; matches that fail a check are left out.

    Args:
        source: The view that the points are in.
        target: The view that is searched.
        xy: Query points (N, 2) of the source.
        config: Checks and alignment.
        stride: Pixels a cell.
    """
    points = torch.from_numpy(np.ascontiguousarray(xy)).to(source.map.device)
    queries = source.map.sample(image_to_cell(points, stride).to(points.dtype))
    cell, similarity = target.map.search(queries)
    place = target.map.refine(queries, cell)
    # The match is matched back to the source: one more search, which removes most errors.
    back, _ = source.map.search(target.map.sample(place))
    cycle = (cell_to_image(back.float(), stride) - points).norm(dim=1)
    keep = (cycle <= config.max_cycle_px) & (similarity >= config.min_similarity)
    index = torch.nonzero(keep)[:, 0]
    there = cell_to_image(place[index], stride)
    return _refine(source, target, points[index], there, similarity[index], index, len(xy), config)


def _refine(
    source: MatchView,
    target: MatchView,
    xy0: Tensor,
    xy1: Tensor,
    similarity: Tensor,
    index: Tensor,
    count: int,
    config: MatchConfig,
) -> ViewMatches:
    """Drop matches that disagree with their neighbours, then align patches."""
    affine, predicted, support = local_affine(xy0.cpu().numpy(), xy1.cpu().numpy())
    residual = np.linalg.norm(xy1.cpu().numpy() - predicted, axis=1)
    agree = (residual < config.max_neighbour_px) & (support > config.min_support)
    keep = torch.from_numpy(agree).to(xy0.device)
    ratio = float(agree.sum() / max(1, count))
    xy0, xy1, index, score = xy0[keep], xy1[keep], index[keep], similarity[keep].clamp(0, 1)
    expected = torch.from_numpy(predicted).to(xy1)[keep]
    if config.subpixel and len(index):
        aligned = align_patches(source.image, target.image, xy0, xy1, affine[agree], radius=config.patch_radius_px)
        good = aligned.ncc >= config.min_ncc
        xy1, index, score = aligned.xy[good], index[good], confidence(aligned.sigma_px[good])
        expected = expected[good]
    return ViewMatches(index, xy1, score, (xy1 - expected).norm(dim=1), ratio)
