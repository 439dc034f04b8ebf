"""Robust planes through a map of inverse depths, compiled by numba."""

import numpy as np
from numba import njit, prange


@njit(parallel=True, fastmath=True, cache=True)
def fit_planes(inverse, information, radius, tolerance):  # type: ignore[no-untyped-def]
    """Robust planes through the inverse depths around every cell of a grid.

    Args:
        inverse: (H, W) float32, 0 where unknown.
        information: (H, W) float32.
        radius: Cells to each side.
        tolerance: Relative difference at which a neighbour counts half.

    Returns:
        (H, W, 3) float32: inverse depth and its slopes per cell; 0 where too few neighbours are known.
    """
    height, width = inverse.shape
    result = np.zeros((height, width, 3), np.float32)
    for r in prange(height):
        for c in range(width):
            centre = inverse[r, c]
            if centre <= 0:
                continue
            a, gu, gv = centre, 0.0, 0.0
            usable = True
            for turn in range(3):
                s = np.zeros((3, 3))
                t = np.zeros(3)
                seen = 0
                for i in range(max(0, r - radius), min(height, r + radius + 1)):
                    for j in range(max(0, c - radius), min(width, c + radius + 1)):
                        w = inverse[i, j]
                        if w <= 0:
                            continue
                        y, x = i - r, j - c
                        error = (w - (a + gu * x + gv * y)) / (tolerance * centre)
                        if turn == 0 and abs(w - centre) > 0.15 * centre:
                            continue
                        weight = min(information[i, j], 5 * information[r, c] + 1e-9) / (1 + error * error)
                        s[0, 0] += weight
                        s[0, 1] += weight * x
                        s[0, 2] += weight * y
                        s[1, 1] += weight * x * x
                        s[1, 2] += weight * x * y
                        s[2, 2] += weight * y * y
                        t[0] += weight * w
                        t[1] += weight * x * w
                        t[2] += weight * y * w
                        seen += 1
                if seen < 5:
                    usable = False
                    break
                s[1, 0], s[2, 0], s[2, 1] = s[0, 1], s[0, 2], s[1, 2]
                damping = 1e-3 * s[0, 0]
                s[1, 1] += damping
                s[2, 2] += damping
                solved = np.linalg.solve(s, t)
                a, gu, gv = solved[0], solved[1], solved[2]
            if usable and a > 0:
                result[r, c, 0] = a
                result[r, c, 1] = gu
                result[r, c, 2] = gv
    return result
