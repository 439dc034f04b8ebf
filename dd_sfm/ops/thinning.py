"""One point per place: thinning of clouds whose resolution changes with distance."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.geometry import Floats


def best_per_cell(xyz: Floats, size: Floats, cost: Floats) -> NDArray[np.bool_]:
    """The cheapest point of every cell of a grid in space.

    Args:
        xyz: Points (P, 3).
        size: Wanted width of the cell around each point (P,) > 0; rounded to powers of two, so that points of about
            the same size share a grid.
        cost: (P,) lower is better.

    Returns:
        Mask (P,) of the points that stay; of equal costs the first.
    """
    level = np.round(np.log2(size)).astype(np.int64)
    cell = np.floor(xyz / np.exp2(level)[:, None]).astype(np.int64)
    order = np.lexsort((cost, cell[:, 2], cell[:, 1], cell[:, 0], level))
    key = np.column_stack([level, cell])[order]
    first = np.ones(len(xyz), bool)
    first[1:] = (np.diff(key, axis=0) != 0).any(1)
    keep = np.zeros(len(xyz), bool)
    keep[order[first]] = True
    return keep
