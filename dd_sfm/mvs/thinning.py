"""One point per place: thinning of clouds whose resolution changes with distance."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.sfm.geometry import Floats

AXIS_BITS = 21
"""A cell's three numbers, of so many bits each, are packed into one of 64."""


def best_per_cell(xyz: Floats, size: Floats, cost: Floats, *, across: bool = False) -> NDArray[np.bool_]:
    """The cheapest point of every cell of a grid in space.

    Args:
        xyz: Points (P, 3).
        size: Wanted width of the cell around each point (P,) > 0; rounded to powers of two, so that points of about
            the same size share a grid.
        cost: (P,) lower is better.
        across: A point also gives way to a cheaper one of a finer grid inside its cell: for sizes that differ between
            points of one place, as those by expected error do.

    Returns:
        Mask (P,) of the points that stay; of equal costs the first.
    """
    keep = np.zeros(len(xyz), bool)
    if not len(xyz):
        return keep
    level = np.round(np.log2(size)).astype(np.int64)
    for current in np.unique(level):
        rows = np.flatnonzero(level == current)
        if across:
            rows = np.concatenate([np.flatnonzero(keep), rows])
        cell = _packed(xyz, rows, np.exp2(current))
        # Stable: of equal costs the finer, then the first.
        order = np.lexsort((cost[rows], cell))
        best = order[np.r_[True, np.diff(cell[order]) > 0]]
        keep[rows[best]] = True
    return keep


def _packed(xyz: Floats, rows: NDArray[np.int64], size: np.float64) -> NDArray[np.int64]:
    """One number for the cell of each point (P, 3) in some rows, axis by axis, as the points may be millions.

    Cells at the edge of a cloud of more than 2 ** 21 of them across fall together.
    """
    half = 2 ** (AXIS_BITS - 1)
    packed = np.zeros(len(rows), np.int64)
    for axis in range(3):
        cell = np.floor(xyz[rows, axis] / size)
        cell -= np.floor(np.median(cell))
        packed <<= AXIS_BITS
        packed |= np.clip(cell, -half, half - 1, out=cell).astype(np.int64) + half
    return packed
