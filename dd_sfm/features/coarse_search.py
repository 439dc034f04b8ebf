"""Nearest-neighbour search in a dense map on a CPU: every 4th cell first, then hill climbing from the best few."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.ops.compiled import BoolArray, Float32Array, Int64Array, compiled_for_workers, compiled_part

STRIPS = 60
"""The coarse cells are divided into at most this many strips; the best cell of each is a candidate."""
CANDIDATES = 5
"""Number of candidates that hill climbing starts from."""


def search_coarse(
    queries: Tensor, cells: Tensor, usable: Tensor, *, chunk: int, bfloat16: bool
) -> tuple[Tensor, Tensor]:
    """Find the most similar usable cell of a map for every query.

    Args:
        queries: Unit-norm descriptors (N, D) float on the CPU.
        cells: The map's, row by row (H * W, D).
        usable: (H, W) bool, at least one cell True.
        chunk: Queries at once.
        bfloat16: Choose candidates in half precision; the climb is in full precision all the same.

    Returns:
        Index of the cell (N,) int64 and its cosine similarity (N,) float32.
    """
    allowed = usable.flatten()
    coarse = _coarse_cells(usable)
    strips = min(STRIPS, len(coarse))
    strip = -(-len(coarse) // strips)
    # Some cells are repeated to fill the last strip.
    coarse = coarse[torch.arange(strips * strip) % len(coarse)]
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    block = cells[coarse].to(dtype).t().contiguous()
    index = np.zeros(len(queries), np.int64)
    best = np.full(len(queries), -2.0, np.float32)
    flat = np.ascontiguousarray(cells.float().numpy())
    full = np.ascontiguousarray(queries.float().numpy())
    for start in range(0, len(queries), chunk):
        part = slice(start, start + chunk)
        response = queries[part].to(dtype) @ block
        # Positive bfloat16 numbers are in the order of their bits, and a negative response is no candidate anyhow.
        table = response.view(torch.int16).numpy() if bfloat16 else response.numpy()
        _hill_climb(
            table, strip, coarse.numpy(), flat, allowed.numpy(), usable.shape[1], full[part], index[part], best[part]
        )
    return torch.from_numpy(index), torch.from_numpy(best)


def _coarse_cells(usable: Tensor) -> Tensor:
    """Indices of every 4th cell along both axes."""
    height, width = usable.shape
    rows, columns = torch.meshgrid(
        torch.arange(min(1, height - 1), height, 4), torch.arange(min(1, width - 1), width, 4), indexing="ij"
    )
    coarse = (rows * width + columns).flatten()
    # A coarse cell stands for its neighbourhood even where a highlight covers the cell itself.
    seen = usable.flatten()[coarse]
    return coarse[seen] if bool(seen.any()) else coarse


@compiled_part
def _dot(a: Float32Array, b: Float32Array) -> Any:
    total = np.float32(0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@compiled_part
def _strip_peaks(response: NDArray[Any], strip: int, places: Int64Array, values: NDArray[Any]) -> None:
    """Find the peaks of the best strips, best first: their coarse cells into ``places``, -1 where there is none."""
    top = places.shape[0]
    for t in range(top):
        places[t] = -1
        values[t] = response[0]
    for s in range(response.shape[0] // strip):
        first = s * strip
        peak = response[first]
        for k in range(first + 1, first + strip):
            peak = max(peak, response[k])
        if places[top - 1] >= 0 and peak <= values[top - 1]:
            continue
        where = first
        while response[where] != peak:
            where += 1
        t = top - 1
        while t > 0 and (places[t - 1] < 0 or values[t - 1] < peak):
            places[t], values[t] = places[t - 1], values[t - 1]
            t -= 1
        places[t], values[t] = where, peak


@compiled_part
def _best_around(
    place: int, step: int, flat: Float32Array, allowed: BoolArray, width: int, query: Float32Array
) -> tuple[int, Any]:
    """Find the best allowed cell of the 3 x 3 around one, ``step`` apart; similarity -2 where none is allowed."""
    height = allowed.shape[0] // width
    row, column = place // width, place % width
    found, best = place, np.float32(-2)
    for i in range(-1, 2):
        r = min(max(row + i * step, 0), height - 1)
        for j in range(-1, 2):
            c = min(max(column + j * step, 0), width - 1)
            at = r * width + c
            if allowed[at]:
                value = _dot(flat[at], query)
                if value > best:
                    found, best = at, value
    return found, best


@compiled_for_workers
def _hill_climb(
    response: NDArray[Any],
    strip: int,
    coarse: Int64Array,
    flat: Float32Array,
    allowed: BoolArray,
    width: int,
    queries: Float32Array,
    index: Int64Array,
    best: Float32Array,
) -> None:
    """Climb from the best coarse cells of every query, first in steps of 2, then from the best two in steps of 1."""
    places, values = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, response.dtype)
    near, similarity = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, np.float32)
    for n in range(response.shape[0]):
        _strip_peaks(response[n], strip, places, values)
        for t in range(CANDIDATES):
            similarity[t] = -3
            if places[t] < 0:
                continue
            near[t], similarity[t] = _best_around(coarse[places[t]], 2, flat, allowed, width, queries[n])
        for _ in range(2):
            top = np.argmax(similarity)
            place, value = near[top], similarity[top]
            if value < -2:
                break
            for _ in range(2):
                place, value = _best_around(place, 1, flat, allowed, width, queries[n])
            if value > best[n]:
                index[n], best[n] = place, value
            similarity[top] = -3
