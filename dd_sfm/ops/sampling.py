"""Reading maps between their cells."""

import torch
import torch.nn.functional as functional
from torch import Tensor


def image_to_cell(xy: Tensor, stride: float) -> Tensor:
    """Image pixels (..., 2) -> cells (column, row) of a map whose cell 0 covers the first ``stride`` pixels."""
    return (xy + 0.5) / stride - 0.5


def cell_to_image(cell: Tensor, stride: float) -> Tensor:
    """Cells (column, row) (..., 2) -> image pixels; inverse of :func:`image_to_cell`."""
    return (cell + 0.5) * stride - 0.5


def sample_bilinear(feature_map: Tensor, xy: Tensor) -> Tensor:
    """Read a map at fractional places.

    Args:
        feature_map: (C, H, W) float.
        xy: (N, 2) float, (column, row); clamped to the map.

    Returns:
        (N, C) float.
    """
    height, width = feature_map.shape[-2:]
    scale = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=xy.dtype, device=xy.device)
    grid = (xy / scale * 2.0 - 1.0)[None, None]
    sampled = functional.grid_sample(
        feature_map[None], grid.to(feature_map.dtype), mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, :, 0].t()


def sample_descriptors(descriptors: Tensor, cell: Tensor) -> Tensor:
    """Unit-norm descriptors (N, D) of a map (D, H, W) at fractional cells (N, 2)."""
    return functional.normalize(sample_bilinear(descriptors, cell), dim=1)
