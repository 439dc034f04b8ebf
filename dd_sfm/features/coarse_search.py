"""Nearest-neighbour search in a dense map on a CPU: every 4th cell first, then hill climbing from the best few."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.features.matching import paraboloid
from dd_sfm.ops.compiled import BoolArray, Float32Array, Int64Array, compiled_for_workers, compiled_part
from dd_sfm.ops.slices import slices

STRIPS = 64
"""The coarse cells are divided into so many strips; the best cell of each is a candidate."""
CANDIDATES = 5
"""Number of candidates that hill climbing starts from."""
MAX_CLIMB = 0.1
"""Largest gain of similarity expected of the last, single steps: a place that is further behind is given up."""
BLOCK_ROWS = 32
"""Rows of a map that are written in 8 bits at once: whole maps leave gaps of many megabytes in the heap."""
ROWS = 64
"""Half-precision products are made of so many rows, or a multiple of that."""
MAX_OFFSET = 0.6
"""Largest distance in cells, along each axis, of a peak from the best cell."""

Int8Array = NDArray[np.int8]


@dataclass(frozen=True)
class CoarseMap:
    """A map prepared for searching on a CPU: made once for a frame, searched for the points of many.

    ``cells`` (H, W, D) are the descriptors in 8 bits, as reading them at scattered places is bound by memory; those of
    a cell are ``step`` (H, W) times as large. ``usable`` (H, W). ``coarse`` (C,) are the indices of the coarse cells:
    C is a multiple of the number of strips, some are repeated. Strip s has the columns s, s + STRIPS, ... of
    ``block`` (D, C), their descriptors.
    """

    cells: Int8Array
    step: Float32Array
    usable: BoolArray
    coarse: Int64Array
    block: Tensor
    chunk: int

    @classmethod
    def of(cls, descriptors: Tensor, usable: Tensor, *, chunk: int, bfloat16: bool) -> "CoarseMap":
        """Prepare a map.

        Args:
            descriptors: Unit-norm descriptors (D, H, W).
            usable: (H, W) bool.
            chunk: Queries at once.
            bfloat16: Choose candidates in half precision.
        """
        cells = descriptors.permute(1, 2, 0).cpu().float()
        step, codes = _quantised(cells)
        coarse = _coarse_cells(usable.cpu())
        # Neighbours are in one strip, and the strips side by side: their peaks are found without a sum over a vector.
        length = -(-len(coarse) // STRIPS)
        coarse = coarse[torch.arange(STRIPS * length).view(STRIPS, length).t().flatten() % len(coarse)]
        block = cells.flatten(0, 1)[coarse].to(torch.bfloat16 if bfloat16 else torch.float32).t().contiguous()
        return cls(codes.numpy(), step.numpy(), usable.cpu().numpy(), coarse.numpy(), block, chunk)

    @property
    def device(self) -> torch.device:
        """Where queries and places are."""
        return torch.device("cpu")

    def sample(self, place: Tensor) -> Tensor:
        """Unit-norm descriptors (N, D) float32 at fractional cells (N, 2)."""
        return torch.from_numpy(
            _sample_compiled(self.cells, self.step, np.ascontiguousarray(place.numpy(), np.float32))
        )

    def search(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Find the most similar usable cell for every query (N, D).

        Returns:
            Cells (N, 2) int64 (column, row) and cosine similarities (N,) float32; without any usable cell, cell (0, 0)
            and similarity -2.
        """
        index = np.zeros(len(queries), np.int64)
        best = np.full(len(queries), -2.0, np.float32)
        if self.usable.any():
            full = np.ascontiguousarray(queries.float().numpy())
            for start in range(0, len(queries), self.chunk):
                part = slice(start, start + self.chunk)
                response = _responses(queries[part].to(self.block.dtype), self.block)
                # Positive bfloat16 numbers are in the order of their bits; a negative response is no candidate anyhow.
                is_half = response.dtype == torch.bfloat16
                table = response.view(torch.int16).numpy() if is_half else response.numpy()
                _hill_climb(table, self.coarse, self.cells, self.step, self.usable, full[part], index[part], best[part])
        width = self.usable.shape[1]
        return torch.from_numpy(np.stack([index % width, index // width], 1)), torch.from_numpy(best)

    def refine(self, queries: Tensor, cell: Tensor) -> Tensor:
        """Refine peaks (N, 2) as :func:`dd_sfm.features.matching.subcell_peak` does."""
        solve = np.ascontiguousarray(paraboloid(torch.device("cpu"))[2].numpy())
        full = np.ascontiguousarray(queries.float().numpy())
        return torch.from_numpy(
            _refine_compiled(self.cells, self.step, full, np.ascontiguousarray(cell.numpy()), solve)
        )


def _quantised(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Steps (H, W) of cells (H, W, D), and how many of them each number is, in 8 bits; a few rows at a time."""
    step, codes = torch.empty(cells.shape[:2]), torch.empty(cells.shape, dtype=torch.int8)
    for part in slices(len(cells), BLOCK_ROWS):
        step[part] = cells[part].abs().amax(2).clamp_min(1e-9) / 127
        codes[part] = (cells[part] / step[part, :, None]).round_().to(torch.int8)
    return step, codes


def _responses(queries: Tensor, block: Tensor) -> Tensor:
    """Products (N, C) of queries (N, D) and a block (D, C).

    In half precision oneDNN compiles code for every number of rows that it meets, and keeps half a megabyte of it for
    each: rows of zeros leave few numbers.
    """
    count = len(queries)
    if block.dtype != torch.bfloat16 or count % ROWS == 0:
        return queries @ block
    filled = queries.new_zeros(-(-count // ROWS) * ROWS, queries.shape[1])
    filled[:count] = queries
    return (filled @ block)[:count]


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
def _dot(codes: Int8Array, query: Float32Array) -> Any:
    total = np.float32(0)
    for k in range(query.shape[0]):
        total += np.float32(codes[k]) * query[k]
    return total


@compiled_part
def _strip_peaks(response: NDArray[Any], peaks: NDArray[Any], places: Int64Array, values: NDArray[Any]) -> None:
    """Find the peaks of the best strips, best first: their columns into ``places``, -1 where there is none."""
    top, length = places.shape[0], response.shape[0] // STRIPS
    for s in range(STRIPS):
        peaks[s] = response[s]
    for k in range(1, length):
        line = response[k * STRIPS : (k + 1) * STRIPS]
        for s in range(STRIPS):
            peaks[s] = max(peaks[s], line[s])
    for t in range(top):
        places[t] = -1
        values[t] = peaks[0]
    for s in range(STRIPS):
        peak = peaks[s]
        if places[top - 1] >= 0 and peak <= values[top - 1]:
            continue
        t = top - 1
        while t > 0 and (places[t - 1] < 0 or values[t - 1] < peak):
            places[t], values[t] = places[t - 1], values[t - 1]
            t -= 1
        places[t], values[t] = s, peak
    for t in range(top):
        if places[t] >= 0:
            where = places[t]
            while response[where] != values[t] and where + STRIPS < response.shape[0]:
                where += STRIPS
            places[t] = where


@compiled_part
def _best_around(
    place: int, apart: int, cells: Int8Array, step: Float32Array, usable: BoolArray, query: Float32Array
) -> tuple[int, Any]:
    """Find the best usable cell of the 3 x 3 around one, so far ``apart``; similarity -2 where none is usable."""
    height, width = usable.shape
    row, column = place // width, place % width
    found, best = place, np.float32(-2)
    for i in range(-1, 2):
        r = min(max(row + i * apart, 0), height - 1)
        for j in range(-1, 2):
            c = min(max(column + j * apart, 0), width - 1)
            if usable[r, c]:
                value = _dot(cells[r, c], query) * step[r, c]
                if value > best:
                    found, best = r * width + c, value
    return found, best


@compiled_for_workers
def _hill_climb(
    response: NDArray[Any],
    coarse: Int64Array,
    cells: Int8Array,
    step: Float32Array,
    usable: BoolArray,
    queries: Float32Array,
    index: Int64Array,
    best: Float32Array,
) -> None:
    """Climb from the best coarse cells of every query, first in steps of 2, then from the best two in steps of 1."""
    places, values = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, response.dtype)
    peaks = np.empty(STRIPS, response.dtype)
    near, similarity = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, np.float32)
    for n in range(response.shape[0]):
        _strip_peaks(response[n], peaks, places, values)
        for t in range(CANDIDATES):
            similarity[t] = -3
            if places[t] >= 0:
                near[t], similarity[t] = _best_around(coarse[places[t]], 2, cells, step, usable, queries[n])
        for _ in range(2):
            top = np.argmax(similarity)
            place, value = near[top], similarity[top]
            if value < max(best[n] - np.float32(MAX_CLIMB), np.float32(-2)):
                break
            for _ in range(2):
                place, value = _best_around(place, 1, cells, step, usable, queries[n])
            if value > best[n]:
                index[n], best[n] = place, value
            similarity[top] = -3


@compiled_for_workers
def _sample_compiled(cells: Int8Array, step: Float32Array, place: Float32Array) -> Float32Array:
    """Interpolate descriptors (N, D) at fractional cells (N, 2), clamped to the map, and give them unit norm."""
    height, width, size = cells.shape
    out = np.empty((place.shape[0], size), np.float32)
    one = np.float32(1)
    for n in range(place.shape[0]):
        x = min(max(place[n, 0], np.float32(0)), np.float32(width - 1))
        y = min(max(place[n, 1], np.float32(0)), np.float32(height - 1))
        column, row = np.int32(x), np.int32(y)
        right, below = min(column + 1, width - 1), min(row + 1, height - 1)
        fx, fy = x - np.float32(column), y - np.float32(row)
        a, b = (one - fx) * (one - fy) * step[row, column], fx * (one - fy) * step[row, right]
        c, d = (one - fx) * fy * step[below, column], fx * fy * step[below, right]
        c00, c01, c10, c11 = cells[row, column], cells[row, right], cells[below, column], cells[below, right]
        norm = np.float32(1e-12)
        for k in range(size):
            value = a * np.float32(c00[k]) + b * np.float32(c01[k]) + c * np.float32(c10[k]) + d * np.float32(c11[k])
            out[n, k] = value
            norm += value * value
        scale = one / np.sqrt(norm)
        for k in range(size):
            out[n, k] *= scale
    return out


@compiled_for_workers
def _refine_compiled(
    cells: Int8Array, step: Float32Array, queries: Float32Array, cell: Int64Array, solve: Float32Array
) -> Float32Array:
    """The compiled loop of :meth:`CoarseMap.refine`."""
    height, width = cells.shape[:2]
    place = np.empty(cell.shape, np.float32)
    fit = np.empty(5, np.float32)
    most, two = np.float32(MAX_OFFSET), np.float32(2)
    for n in range(cell.shape[0]):
        column, row = cell[n, 0], cell[n, 1]
        place[n, 0], place[n, 1] = column, row
        fit[:] = 0
        for i in range(5):
            r = min(max(row + i - 2, 0), height - 1)
            for j in range(5):
                c = min(max(column + j - 2, 0), width - 1)
                value = _dot(cells[r, c], queries[n]) * step[r, c]
                for k in range(5):
                    fit[k] += value * solve[i * 5 + j, k]
        determinant = two * two * fit[2] * fit[4] - fit[3] * fit[3]
        if determinant <= 0 or fit[2] >= 0:
            continue
        if 0 < column < width - 1:
            place[n, 0] += min(max((fit[3] * fit[1] - two * fit[4] * fit[0]) / determinant, -most), most)
        if 0 < row < height - 1:
            place[n, 1] += min(max((fit[3] * fit[0] - two * fit[2] * fit[1]) / determinant, -most), most)
    return place
