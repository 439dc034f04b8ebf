"""The paper's relative response loss, as published: Liu et al., CVPR 2020, section 3.

Kept beside :mod:`dd_sfm.training.loss`, which adds labels between cells and leaves out masked cells.
"""

from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dd_sfm.errors import ShapeError
from dd_sfm.ops.sampling import image_to_cell, sample_descriptors


def relative_response_loss(
    map0: Tensor,
    map1: Tensor,
    xy0: Tensor,
    xy1: Tensor,
    *,
    stride: int = 1,
    scale: float = 20.0,
    chunk: int = 128,
) -> Tensor:
    """Minus the log of the relative response at the true places, averaged over points and both directions.

    A source descriptor is laid over the whole target map as a 1x1 kernel; the relative response is the softmax of
    that response over all target pixels (eq. 1 and 2). Nothing larger than ``chunk`` response maps is held: they are
    computed again for the gradient.

    Args:
        map0: Unit-norm descriptors (D, H, W) of image 0.
        map1: Unit-norm descriptors (D, H', W') of image 1.
        xy0: Points (N, 2) float in image 0, pixels, inside the image.
        xy1: The same points in image 1, (N, 2).
        stride: Image pixels a cell of the maps.
        scale: Factor on the response before the softmax.
        chunk: Points whose response maps are held at once.

    Returns:
        Scalar loss, 0 for no points.

    Raises:
        ShapeError: If the numbers of points or the lengths of the descriptors differ.
    """
    if xy0.shape != xy1.shape or map0.shape[0] != map1.shape[0]:
        raise ShapeError(
            f"relative_response_loss: points {tuple(xy0.shape)} and {tuple(xy1.shape)}, maps {tuple(map0.shape)} and "
            f"{tuple(map1.shape)}; expected equally many points and equal D"
        )
    if len(xy0) == 0:
        return (map0.sum() + map1.sum()) * 0.0
    cell0, cell1 = image_to_cell(xy0, stride), image_to_cell(xy1, stride)
    one_way = _one_way(map0, map1, cell0, cell1, scale, chunk)
    return (one_way + _one_way(map1, map0, cell1, cell0, scale, chunk)) / 2


def _one_way(source: Tensor, target: Tensor, start: Tensor, end: Tensor, scale: float, chunk: int) -> Tensor:
    queries = sample_descriptors(source.float(), start)
    height, width = target.shape[-2:]
    column, row = end.round().long().unbind(1)
    true = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    cells = target.float().flatten(1)
    total = queries.new_zeros(())
    for part, place in zip(queries.split(chunk), true.split(chunk), strict=True):
        total = total + cast(Tensor, checkpoint(_negative_log, part, cells, place, scale, use_reentrant=False))
    return total / len(queries)


def _negative_log(queries: Tensor, cells: Tensor, true: Tensor, scale: float) -> Tensor:
    """Sum over queries (N, D) of -log softmax(scale * response over cells (D, M)) at ``true`` (N,)."""
    return torch.nn.functional.cross_entropy(queries @ cells * scale, true, reduction="sum")
