"""Dense matching as classification: cross-entropy over all cells of the other image."""

import torch
from torch import Tensor

from dd_sfm.ops.sampling import image_to_cell, sample_descriptors


def bilinear_targets(cell: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four cells around fractional places, and their bilinear weights.

    Args:
        cell: (N, 2) float, (column, row); clamped to the map.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        Flat indices (N, 4) int64 and weights (N, 4) float that sum to 1.
    """
    limit = torch.tensor([width - 1.0, height - 1.0], device=cell.device)
    cell = torch.minimum(cell.clamp_min(0.0), limit)
    low = torch.minimum(cell.floor(), (limit - 1).clamp_min(0.0))
    part = cell - low
    column, row = low.long().unbind(1)
    indices = torch.stack([row * width + column, row * width + column + 1], 1)
    indices = torch.cat([indices, indices + width], 1)
    x, y = part.unbind(1)
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)
    return indices.clamp_max(height * width - 1), weights


MARGIN_RADIUS = 2.5
"""Cells within this distance of the true place, along both axes, get no margin."""


def response_loss(
    source: Tensor,
    target: Tensor,
    source_xy: Tensor,
    target_xy: Tensor,
    usable: Tensor,
    stride: int,
    scale: float,
    margin: float = 0.0,
) -> Tensor:
    """Cross-entropy of the softmax over all usable target cells against bilinear soft labels.

    The relative response of Liu et al. (CVPR 2020, eq. 2), with labels between cells.

    Args:
        source: Unit-norm map (D, H, W) of the image with the query points.
        target: Unit-norm map (D, H', W') that is searched.
        source_xy: Query points (N, 2) in source image pixels.
        target_xy: Their true places (N, 2) in target image pixels.
        usable: (H', W') bool; other cells take no part unless they hold a true place.
        stride: Image pixels a cell.
        scale: Factor on the cosine before the softmax (inverse temperature).
        margin: Cosine by which the true place has to beat all cells that are not near it: rivals that look alike then
            count more (additive margin softmax, Wang et al., IEEE Signal Processing Letters 2018).

    Returns:
        Mean loss, scalar; 0 for no points.
    """
    if len(source_xy) == 0:
        return source.sum() * 0.0
    queries = sample_descriptors(source.float(), image_to_cell(source_xy, stride))
    height, width = target.shape[-2:]
    cell = image_to_cell(target_xy, stride)
    indices, weights = bilinear_targets(cell, height, width)
    logits = queries @ target.float().flatten(1) * scale
    true = (logits.gather(1, indices) * weights).sum(1)
    allowed = usable.flatten().clone()
    allowed[indices.flatten()] = True
    logits = logits.masked_fill(~allowed, float("-inf"))
    if margin > 0:
        logits = logits + margin * scale * _is_far(cell, height, width)
    return (torch.logsumexp(logits, 1) - true).mean()


def _is_far(cell: Tensor, height: int, width: int) -> Tensor:
    """Which cells (N, height * width) are not near the places (N, 2)."""
    columns = (torch.arange(width, device=cell.device) - cell[:, :1]).abs() > MARGIN_RADIUS
    rows = (torch.arange(height, device=cell.device) - cell[:, 1:]).abs() > MARGIN_RADIUS
    return (rows[:, :, None] | columns[:, None, :]).flatten(1)
