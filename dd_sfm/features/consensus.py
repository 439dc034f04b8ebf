"""Agreement of neighbouring matches: an affine map fitted robustly to the neighbours of every match."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


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
    index = np.asarray(cKDTree(xy0).query(xy0, k=k + 1)[1])[:, 1:]
    away = (xy0[index] - xy0[:, None]).astype(np.float64)
    there = xy1[index].astype(np.float64)
    start = np.median(there - away, axis=1)
    design = np.concatenate([away, np.ones((count, k, 1))], 2)
    spread = np.maximum(np.square(away).sum(2).mean(1), 1.0)
    prior = np.zeros((count, 3, 3))
    prior[:, 0, 0] = prior[:, 1, 1] = 0.1 * spread
    prior[:, 2, 2] = 0.01
    base = np.concatenate([np.tile(np.eye(2), (count, 1, 1)), start[:, None]], 1)
    weight = 1 / (1 + np.square(there - away - start[:, None]).sum(2) / (2 * scale_px) ** 2)
    solution = base
    for _ in range(rounds):
        weighted = design * weight[..., None]
        normal = weighted.transpose(0, 2, 1) @ design + prior
        solution = np.linalg.solve(normal, weighted.transpose(0, 2, 1) @ there + prior @ base)
        residual = np.square(there - design @ solution).sum(2)
        weight = 1 / (1 + residual / scale_px**2)
    return solution[:, :2].transpose(0, 2, 1), solution[:, 2], weight.mean(1)
