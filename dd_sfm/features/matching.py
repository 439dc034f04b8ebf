"""Dense matching: the most similar cell of a whole map for every query descriptor, with sub-cell refinement."""

import logging
from functools import cache

import torch
from torch import Tensor

from dd_sfm.errors import DeviceError, ShapeError

logger = logging.getLogger(__name__)

LEAST_CHUNK = 16
"""Blocks of fewer queries are not tried."""


def match_nearest(
    queries: Tensor, cells: Tensor, *, chunk_queries: int = 512, chunk_cells: int = 8192
) -> tuple[Tensor, Tensor]:
    """Find the most similar cell for every query, with no more than one block of the response in memory.

    Args:
        queries: Unit-norm descriptors (N, D).
        cells: Unit-norm descriptors (M, D), M > 0.
        chunk_queries: Queries a block.
        chunk_cells: Cells a block.

    Returns:
        Index of the best cell (N,) int64 and its cosine similarity (N,) float32.

    A GPU that is short of memory is given smaller blocks.

    Raises:
        ShapeError: If D differs or there is no cell.
        DeviceError: If not even a small block has room on the GPU.
    """
    if queries.shape[-1] != cells.shape[-1] or len(cells) == 0:
        raise ShapeError(f"queries {tuple(queries.shape)} against cells {tuple(cells.shape)}; expected equal D, M > 0")
    while True:
        try:
            return _nearest_of_blocks(queries, cells, chunk_queries, chunk_cells)
        except torch.OutOfMemoryError as error:
            if chunk_queries <= LEAST_CHUNK:
                raise DeviceError(
                    f"GPU: no room to compare {chunk_queries} points with {chunk_cells} cells; expected some free "
                    "memory. Use --device cpu"
                ) from error
            chunk_queries //= 2
            _say_short_of_memory(chunk_queries)


@cache
def _say_short_of_memory(chunk: int) -> None:
    """Warn of smaller blocks; once for each size."""
    logger.warning("match: the GPU is short of memory; %d points are searched at once", chunk)


def _nearest_of_blocks(queries: Tensor, cells: Tensor, chunk_queries: int, chunk_cells: int) -> tuple[Tensor, Tensor]:
    """See :func:`match_nearest`."""
    best = torch.full((len(queries),), -2.0, device=queries.device)
    index = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    # Columns as a contiguous (D, m) block: the product then runs without a transposed operand.
    for start in range(0, len(cells), chunk_cells):
        block = cells[start : start + chunk_cells].t().contiguous()
        for first in range(0, len(queries), chunk_queries):
            part = slice(first, first + chunk_queries)
            value, where = (queries[part] @ block).max(1)
            better = value > best[part]
            best[part] = torch.where(better, value.float(), best[part])
            index[part] = torch.where(better, where + start, index[part])
    return index, best


def subcell_peak(descriptors: Tensor, queries: Tensor, cell: Tensor, *, chunk: int = 512) -> Tensor:
    """Refine peaks by a paraboloid fitted to the response at 5 x 5 cells, the middle ones weighing most.

    A parabola through three cells along each axis is less accurate: the response is noisy from cell to cell.

    Args:
        descriptors: Unit-norm map (D, H, W).
        queries: (N, D).
        cell: Best cells (N, 2) int64, (column, row).
        chunk: Queries at once.

    Returns:
        (N, 2) float32 places, at most 0.6 cells from ``cell`` along each axis; on the border the axis stays as it is,
        and one cell from it, where the window repeats the rim, it is up to 0.15 cells off.
    """
    height, width = descriptors.shape[-2:]
    flat = descriptors.flatten(1).t()
    dx, dy, solve = paraboloid(flat.device)
    parts = []
    for place, query in zip(torch.split(cell, chunk), torch.split(queries, chunk), strict=True):
        index = (place[:, 1:] + dy).clamp(0, height - 1) * width + (place[:, :1] + dx).clamp(0, width - 1)
        parts.append(torch.einsum("nkd,nd->nk", flat[index].float(), query.float()) @ solve)
    # The response is about gx dx + gy dy + xx dx^2 + xy dx dy + yy dy^2 and a constant.
    gx, gy, xx, xy, yy = torch.cat(parts).unbind(1)
    determinant = 4 * xx * yy - xy * xy
    is_peak = (determinant > 0) & (xx < 0)
    offset = torch.stack([xy * gy - 2 * yy * gx, xy * gx - 2 * xx * gy], 1) / determinant[:, None]
    inside = (cell > 0) & (cell < torch.tensor([width - 1, height - 1], device=cell.device))
    return cell.float() + torch.where(is_peak[:, None] & inside, offset.clamp(-0.6, 0.6), torch.zeros_like(offset))


def paraboloid(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets dx, dy (25,) of the 5 x 5 cells around one, and the (25, 5) matrix of a least-squares paraboloid."""
    steps = torch.arange(-2, 3)
    dy, dx = (s.flatten() for s in torch.meshgrid(steps, steps, indexing="ij"))
    x, y = dx.double(), dy.double()
    weight = torch.exp(-(x * x + y * y) / 2)
    design = torch.stack([x, y, x * x, x * y, y * y, torch.ones_like(x)], 1)
    solve = torch.linalg.pinv(design * weight[:, None]) * weight
    return dx.to(device), dy.to(device), solve[:5].t().float().to(device)
