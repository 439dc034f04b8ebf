"""Dense matching: for every query the best cell of a whole map, in blocks, with sub-cell peaks."""

import torch
from torch import Tensor

from dd_sfm.config import MatchConfig
from dd_sfm.errors import ShapeError
from dd_sfm.ops.coarse_search import search_coarse
from dd_sfm.runtime import cpu_has_bfloat16


def match_nearest(
    queries: Tensor, cells: Tensor, *, chunk_queries: int = 512, chunk_cells: int = 8192
) -> tuple[Tensor, Tensor]:
    """The most similar cell for every query; never more than one block of the response in memory.

    Args:
        queries: Unit-norm descriptors (N, D).
        cells: Unit-norm descriptors (M, D), M > 0.
        chunk_queries: Queries a block.
        chunk_cells: Cells a block.

    Returns:
        Index of the best cell (N,) int64 and its cosine similarity (N,) float32.

    Raises:
        ShapeError: If D differs or there is no cell.
    """
    if queries.shape[-1] != cells.shape[-1] or len(cells) == 0:
        raise ShapeError(f"queries {tuple(queries.shape)} against cells {tuple(cells.shape)}; expected equal D, M > 0")
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


def subcell_peak(descriptors: Tensor, queries: Tensor, cell: Tensor) -> Tensor:
    """Refine peaks by a parabola through the response at the neighbours, per axis.

    Args:
        descriptors: Unit-norm map (D, H, W).
        queries: (N, D).
        cell: Best cells (N, 2) int64, (column, row).

    Returns:
        (N, 2) float32 places, at most half a cell from ``cell``; on the border the axis stays as it is.
    """
    height, width = descriptors.shape[-2:]
    flat = descriptors.flatten(1).t()
    column, row = cell.unbind(1)

    def response(c: Tensor, r: Tensor) -> Tensor:
        index = r.clamp(0, height - 1) * width + c.clamp(0, width - 1)
        return (flat[index].float() * queries.float()).sum(1)

    middle = response(column, row)

    def offset(before: Tensor, after: Tensor, inside: Tensor) -> Tensor:
        curvature = before - 2 * middle + after
        step = 0.5 * (before - after) / curvature.clamp_max(-1e-6)
        return torch.where(inside & (curvature < -1e-6), step.clamp(-0.5, 0.5), torch.zeros_like(step))

    dx = offset(response(column - 1, row), response(column + 1, row), (column > 0) & (column < width - 1))
    dy = offset(response(column, row - 1), response(column, row + 1), (row > 0) & (row < height - 1))
    return cell.float() + torch.stack([dx, dy], 1)


def match_cells(queries: Tensor, descriptors: Tensor, usable: Tensor, config: MatchConfig) -> tuple[Tensor, Tensor]:
    """The best usable cell of a map for every query.

    Args:
        queries: Unit-norm descriptors (N, D).
        descriptors: Unit-norm map (D, H, W).
        usable: (H, W) bool.
        config: ``search`` (coarse to fine or exhaustive) and block sizes.

    Returns:
        Cells (N, 2) int64 (column, row) and cosine similarities (N,) float32; without any usable cell, cell (0, 0)
        and similarity -2.
    """
    width = usable.shape[1]
    if not bool(usable.any()):
        return torch.zeros((len(queries), 2), dtype=torch.int64, device=queries.device), queries.new_full(
            (len(queries),), -2.0
        )
    flat = descriptors.flatten(1).t()
    if config.search == "exhaustive" or (config.search == "auto" and queries.device.type == "cuda"):
        cells = torch.nonzero(usable.flatten())[:, 0]
        index, best = match_nearest(
            queries.to(flat.dtype), flat[cells], chunk_queries=config.chunk_queries, chunk_cells=config.chunk_cells
        )
        index = cells[index]
    else:
        index, best = search_coarse(
            queries.cpu(), flat.cpu(), usable.cpu(), chunk=config.chunk_queries, bfloat16=cpu_has_bfloat16()
        )
        index, best = index.to(queries.device), best.to(queries.device)
    return torch.stack([index % width, index // width], 1), best
