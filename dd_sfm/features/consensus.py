"""Agreement of neighbouring matches: an affine map fitted robustly to the neighbours of every match."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.ops.compiled import Float64Array, Int64Array, compiled_for_workers, compiled_part


def local_affine(
    xy0: NDArray[Any],
    xy1: NDArray[Any],
    *,
    neighbours: int = 12,
    scale_px: float = 2.0,
    rounds: int = 4,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Fit ``xy1 ~ A (xy0 - x) + b`` around every match from its nearest neighbours (itself left out).

    Iteratively reweighted least squares with Cauchy weights; a weak prior at the median motion without
    deformation keeps the fit stable where neighbours are few or collinear.

    Args:
        xy0: Points in image 0 (N, 2).
        xy1: Their matches in image 1 (N, 2).
        neighbours: Matches used around each.
        scale_px: Residual at which a neighbour's weight is halved.
        rounds: Reweighting rounds.

    Returns:
        ``affine`` (N, 2, 2), ``predicted`` place in image 1 (N, 2), and ``support`` (N,), the weighted share of the
        neighbours that agree with the fit. With fewer than 4 matches: identity, the matches themselves, and 0.
    """
    count = len(xy0)
    if count < 4:
        return np.tile(np.eye(2), (count, 1, 1)), np.asarray(xy1, np.float64).copy(), np.zeros(count)
    k = min(neighbours, count - 1)
    index = np.asarray(cKDTree(xy0).query(xy0, k=k + 1)[1], np.int64)
    points, places = np.ascontiguousarray(xy0, np.float64), np.ascontiguousarray(xy1, np.float64)
    return _fit_compiled(points, places, index, float(scale_px), rounds)


@compiled_part
def _reweight(
    away: Float64Array, there: Float64Array, fit: Float64Array, scale_px: float, weight: Float64Array
) -> None:
    """Set Cauchy weights (K,) by the residuals of a fit (3, 2)."""
    for i in range(weight.shape[0]):
        residual = 0.0
        for c in range(2):
            residual += (there[i, c] - away[i, 0] * fit[0, c] - away[i, 1] * fit[1, c] - fit[2, c]) ** 2
        weight[i] = 1 / (1 + residual / scale_px**2)


@compiled_part
def _fit_weighted(
    away: Float64Array, there: Float64Array, weight: Float64Array, stiff: float, start: Float64Array, fit: Float64Array
) -> None:
    """Fit an affine map (3, 2), weakly held at the motion ``start`` without deformation."""
    pull = 0.01
    xx, xy, yy, x, y, one = stiff, 0.0, stiff, 0.0, 0.0, pull
    for i in range(weight.shape[0]):
        w, wx, wy = weight[i], weight[i] * away[i, 0], weight[i] * away[i, 1]
        xx += wx * away[i, 0]
        xy += wx * away[i, 1]
        yy += wy * away[i, 1]
        x += wx
        y += wy
        one += w
    # The inverse of the symmetric matrix by its cofactors.
    c00, c01, c02 = yy * one - y * y, x * y - xy * one, xy * y - yy * x
    c11, c12, c22 = xx * one - x * x, xy * x - xx * y, xx * yy - xy * xy
    determinant = xx * c00 + xy * c01 + x * c02
    for c in range(2):
        bx, by, b = (stiff if c == 0 else 0.0), (stiff if c == 1 else 0.0), pull * start[c]
        for i in range(weight.shape[0]):
            value = weight[i] * there[i, c]
            bx += value * away[i, 0]
            by += value * away[i, 1]
            b += value
        fit[0, c] = (c00 * bx + c01 * by + c02 * b) / determinant
        fit[1, c] = (c01 * bx + c11 * by + c12 * b) / determinant
        fit[2, c] = (c02 * bx + c12 * by + c22 * b) / determinant


@compiled_for_workers
def _fit_compiled(
    xy0: Float64Array, xy1: Float64Array, index: Int64Array, scale_px: float, rounds: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """The compiled loop of :func:`local_affine` over all matches; ``index`` (N, K + 1) starts with the match itself."""
    count, k = index.shape[0], index.shape[1] - 1
    away, there, weight = np.empty((k, 2)), np.empty((k, 2)), np.empty(k)
    affine, predicted, support = np.empty((count, 2, 2)), np.empty((count, 2)), np.empty(count)
    fit, start, moves = np.empty((3, 2)), np.empty(2), np.empty(k)
    # Element by element: expressions of whole arrays take several times as long to compile.
    for n in range(count):
        spread = 0.0
        for i in range(k):
            for c in range(2):
                away[i, c] = xy0[index[n, i + 1], c] - xy0[n, c]
                there[i, c] = xy1[index[n, i + 1], c]
                spread += away[i, c] ** 2 / k
        for c in range(2):
            for i in range(k):
                moves[i] = there[i, c] - away[i, c]
            start[c] = np.median(moves)
        # At first nothing is deformed, and residuals may be twice as large.
        fit[0, 0], fit[0, 1], fit[1, 0], fit[1, 1] = 1.0, 0.0, 0.0, 1.0
        fit[2, 0], fit[2, 1] = start[0], start[1]
        _reweight(away, there, fit, 2 * scale_px, weight)
        for _ in range(rounds):
            _fit_weighted(away, there, weight, 0.1 * max(spread, 1.0), start, fit)
            _reweight(away, there, fit, scale_px, weight)
        agreeing = 0.0
        for i in range(k):
            agreeing += weight[i] / k
        support[n] = agreeing
        for c in range(2):
            affine[n, c, 0], affine[n, c, 1] = fit[0, c], fit[1, c]
            predicted[n, c] = fit[2, c]
    return affine, predicted, support
