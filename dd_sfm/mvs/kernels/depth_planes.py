"""Robust planes through a map of inverse depths, compiled by numba."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import compiled_for_workers, inlined_part, over_cores

MAX_JUMP = 0.15
"""Neighbours whose inverse depth differs by more than this share take no part in a first plane."""
MIN_NEIGHBOURS = 5


def fit_planes(
    inverse: NDArray[np.float32], information: NDArray[np.float32], radius: int, tolerance: float
) -> NDArray[np.float32]:
    """Robust planes through the inverse depths around every cell of a grid.

    Args:
        inverse: (H, W) float32, 0 where unknown.
        information: (H, W) float32.
        radius: Cells to each side.
        tolerance: Relative difference at which a neighbour counts half.

    Returns:
        (H, W, 3) float32: inverse depth and its slopes per cell; 0 where too few neighbours are known.
    """
    result = np.zeros((*inverse.shape, 3), np.float32)
    over_cores(_fit_loop, len(inverse), inverse, information, radius, tolerance, result, least=4)
    return result


@compiled_for_workers
def _fit_loop(
    first: int,
    last: int,
    inverse: NDArray[np.float32],
    information: NDArray[np.float32],
    radius: int,
    tolerance: float,
    result: NDArray[np.float32],
) -> None:
    """The rows from ``first`` to ``last`` of :func:`fit_planes`."""
    for r in range(first, last):
        for c in range(inverse.shape[1]):
            if inverse[r, c] <= 0:
                continue
            a, gu, gv = _fit_plane(inverse, information, r, c, radius, tolerance)
            if a > 0:
                result[r, c, 0] = a
                result[r, c, 1] = gu
                result[r, c, 2] = gv


@inlined_part
def _fit_plane(
    inverse: NDArray[np.float32],
    information: NDArray[np.float32],
    r: int,
    c: int,
    radius: int,
    tolerance: float,
) -> tuple[float, float, float]:
    """Plane around one cell: inverse depth there and its slopes per cell; inverse depth 0 with too few neighbours."""
    height, width = inverse.shape
    centre = inverse[r, c]
    a, gu, gv = centre, 0.0, 0.0
    for turn in range(3):
        # Sums of weights times products of (1, x, y), and of (1, x, y) with the inverse depth.
        s1, sx, sy, sxx, sxy, syy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        t1, tx, ty = 0.0, 0.0, 0.0
        seen = 0
        for i in range(max(0, r - radius), min(height, r + radius + 1)):
            for j in range(max(0, c - radius), min(width, c + radius + 1)):
                w = inverse[i, j]
                if w <= 0:
                    continue
                y, x = i - r, j - c
                error = (w - (a + gu * x + gv * y)) / (tolerance * centre)
                if turn == 0 and abs(w - centre) > MAX_JUMP * centre:
                    continue
                weight = min(information[i, j], 5 * information[r, c] + 1e-9) / (1 + error * error)
                s1 += weight
                sx += weight * x
                sy += weight * y
                sxx += weight * x * x
                sxy += weight * x * y
                syy += weight * y * y
                t1 += weight * w
                tx += weight * x * w
                ty += weight * y * w
                seen += 1
        if seen < MIN_NEIGHBOURS or s1 <= 0:
            return 0.0, 0.0, 0.0
        # About the centre of weight only the two slopes are unknown; damping keeps them finite on a line.
        x0, y0, w0 = sx / s1, sy / s1, t1 / s1
        sxx += 1e-3 * s1 - sx * x0
        syy += 1e-3 * s1 - sy * y0
        sxy -= sx * y0
        tx -= sx * w0
        ty -= sy * w0
        determinant = sxx * syy - sxy * sxy
        gu = (syy * tx - sxy * ty) / determinant
        gv = (sxx * ty - sxy * tx) / determinant
        a = w0 - gu * x0 - gv * y0
    return a, gu, gv
