"""Depth of single pixels against many views at once: normalised correlation of slanted patches, compiled by numba.

A pixel (u, v) of the reference at inverse depth w is seen by view j at A_j (u, v, 1) + w b_j with
A_j = K R_j R_0^T K^-1 and b_j = K (t_j - R_j R_0^T t_0). Around it the surface is a plane: inverse depth is linear in
the image, with slopes gu and gv. One number a pixel is searched for, so that the views vote together.
"""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from dd_sfm.mvs.kernels.slanted_patches import (
    NO_TEXTURE,
    PATCH,
    normalise,
    reference_patch,
    view_patch,
)
from dd_sfm.ops.compiled import Float32Array, Number, compiled, compiled_part

CONVERGED_PX = 0.02
"""A depth has converged when a step moves its patch by less than this in every view."""
MIN_NCC = 0.3
"""A view votes for a depth by how far its correlation lies above this."""
SAMPLES_AS_ONE = 9.0
"""Neighbouring samples of a patch are not independent: so many of them count as one."""


@compiled
def best_hypothesis(
    reference: Float32Array,
    views: NDArray[np.float32],
    matrices: NDArray[np.float32],
    shifts: NDArray[np.float32],
    pixels: NDArray[np.float32],
    hypotheses: NDArray[np.float32],
    step: float,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The hypothesis with the best mean correlation for every pixel.

    Args:
        reference: Grey reference (H, W) float32.
        views: Grey views (V, H, W) float32.
        matrices: A (V, 3, 3) float32.
        shifts: b (V, 3) float32.
        pixels: (N, 2) float32.
        hypotheses: Inverse depth and its slopes (N, K, 3) float32.
        step: Pixels between samples; patches have 7 x 7.

    Returns:
        Index of the best hypothesis (N,) int64, -1 for none, and its score (N,) float32: the mean of the better half.
    """
    count, kinds = hypotheses.shape[0], hypotheses.shape[1]
    best = np.full(count, -1, np.int64)
    score = np.full(count, -1.0, np.float32)
    side = 7
    for n in prange(count):
        patch, weights = np.empty(49, np.float32), np.empty(49, np.float32)
        values, slopes = np.empty(49, np.float32), np.empty(49, np.float32)
        found = np.empty(views.shape[0], np.float32)
        u, v = pixels[n, 0], pixels[n, 1]
        if reference_patch(reference, u, v, step, side, patch, weights) == 0:
            continue
        for k in range(kinds):
            w = hypotheses[n, k, 0]
            if w <= 0:
                continue
            seen = 0
            for j in range(views.shape[0]):
                speed = view_patch(
                    views[j], matrices[j], shifts[j], u, v, w, hypotheses[n, k, 1], hypotheses[n, k, 2], step, side,
                    values, slopes,
                )  # fmt: skip
                if speed < 0 or normalise(values, weights, 49, NO_TEXTURE) == 0:
                    continue
                ncc = 0.0
                for m in range(49):
                    ncc += patch[m] * values[m]
                found[seen] = ncc
                seen += 1
            if seen < 2:
                continue
            ordered = np.sort(found[:seen])
            mean = ordered[seen // 2 :].mean()
            if mean > score[n]:
                score[n] = mean
                best[n] = k
    return best, score


@compiled_part
def _vote(
    view: Float32Array,
    matrix: Float32Array,
    shift: Float32Array,
    u: Number,
    v: Number,
    w: Number,
    gu: Number,
    gv: Number,
    step: Number,
    patch: Float32Array,
    weights: Float32Array,
    values: Float32Array,
    slopes: Float32Array,
) -> tuple[Any, Any, Any, Any]:
    """What one view says of a depth, for a patch of the reference of zero mean and unit norm.

    Args:
        view: Grey view (H, W) float32.
        matrix: Its A (3, 3) float32.
        shift: Its b (3,) float32.
        u: Column of the pixel.
        v: Row of the pixel.
        w: Inverse depth.
        gu: Its slope along columns.
        gv: Its slope along rows.
        step: Pixels between samples.
        patch: Samples of the reference (M,), normalised.
        weights: Their weights (M,).
        values: Room for the samples of the view (M,).
        slopes: Room for their derivatives by inverse depth (M,).

    Returns:
        Correlation, hessian and gradient of the squared difference of the patches by inverse depth, and pixels that
        the patch moves by inverse depth; the correlation is -1 where the view does not see the patch.
    """
    size = len(patch)
    speed = view_patch(view, matrix, shift, u, v, w, gu, gv, step, PATCH, values, slopes)
    if speed < 0:
        return -1.0, 0.0, 0.0, 0.0
    scale = normalise(values, weights, size, NO_TEXTURE)
    if scale == 0:
        return -1.0, 0.0, 0.0, 0.0
    ncc, slope_mean, along = 0.0, 0.0, 0.0
    for m in range(size):
        ncc += patch[m] * values[m]
        slope_mean += slopes[m] * weights[m] * weights[m]
    slope_mean /= size
    for m in range(size):
        slopes[m] = (slopes[m] - slope_mean) * weights[m] * scale
        along += slopes[m] * values[m]
    hessian, gradient = 0.0, 0.0
    for m in range(size):
        change = slopes[m] - along * values[m]
        hessian += change * change
        gradient += change * (values[m] - patch[m])
    return ncc, hessian, gradient, speed


@compiled
def refine_depth(
    reference: Float32Array,
    views: NDArray[np.float32],
    matrices: NDArray[np.float32],
    shifts: NDArray[np.float32],
    pixels: NDArray[np.float32],
    planes: NDArray[np.float32],
    step: float,
    iterations: int,
    most_px: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Gauss-Newton on inverse depth with patches of zero mean and unit norm.

    Args:
        reference: Grey reference (H, W) float32.
        views: Grey views (V, H, W) float32.
        matrices: A (V, 3, 3) float32.
        shifts: b (V, 3) float32.
        pixels: (N, 2) float32.
        planes: Inverse depth and its slopes (N, 3) float32.
        step: Pixels between samples; patches have 11 x 11.
        iterations: Most steps; a pixel that hardly moves in any view has converged earlier.
        most_px: Largest movement of a step in any view.

    Returns:
        Inverse depth (N,), 0 where it failed; information (N,): inverse variance of the inverse depth; and the
        correlation in each view (N, V), -1 where it is not seen.
    """
    count, number = pixels.shape[0], views.shape[0]
    inverse = np.zeros(count, np.float32)
    information = np.zeros(count, np.float32)
    correlation = np.full((count, number), -1.0, np.float32)
    size = PATCH * PATCH
    for n in prange(count):
        patch, weights = np.empty(size, np.float32), np.empty(size, np.float32)
        values, slopes = np.empty(size, np.float32), np.empty(size, np.float32)
        u, v = pixels[n, 0], pixels[n, 1]
        if planes[n, 0] <= 0:
            continue
        worth = reference_patch(reference, u, v, step, PATCH, patch, weights)
        if worth == 0:
            continue
        w, hessian, residual = _refine_pixel(
            views, matrices, shifts, u, v, planes[n], step, iterations, most_px, patch, weights, values, slopes,
            correlation[n],
        )  # fmt: skip
        if w <= 0:
            continue
        inverse[n] = w
        variance = max(residual, 1e-3) / worth * SAMPLES_AS_ONE
        information[n] = hessian / variance
    return inverse, information, correlation


@compiled_part
def _refine_pixel(
    views: NDArray[np.float32],
    matrices: NDArray[np.float32],
    shifts: NDArray[np.float32],
    u: Number,
    v: Number,
    plane: NDArray[np.float32],
    step: Number,
    iterations: int,
    most_px: float,
    patch: Float32Array,
    weights: Float32Array,
    values: Float32Array,
    slopes: Float32Array,
    correlation: Float32Array,
) -> tuple[Any, Any, Any]:
    """Refine the depth of one pixel; see :func:`refine_depth` and :func:`_vote`.

    Returns:
        Inverse depth, 0 where it failed; hessian of the views' squared differences; and their mean squared difference.
    """
    start, gu, gv = plane[0], plane[1], plane[2]
    w = start
    hessian, residual, trust = 0.0, 0.0, 0.0
    for turn in range(iterations + 1):
        hessian, gradient, fastest, residual, trust = 0.0, 0.0, 0.0, 0.0, 0.0
        ratio = w / start
        for j in range(views.shape[0]):
            ncc, h, g, speed = _vote(
                views[j], matrices[j], shifts[j], u, v, w, gu * ratio, gv * ratio, step, patch, weights, values, slopes
            )
            correlation[j] = ncc
            weight = (ncc - MIN_NCC) / (1 - MIN_NCC)
            if weight <= 0:
                continue
            hessian += weight * h
            gradient += weight * g
            residual += weight * (2 - 2 * ncc)
            trust += weight
            fastest = max(fastest, speed)
        if hessian <= 1e-12 or trust < 1.0:
            return 0.0, 0.0, 0.0
        if turn == iterations:
            break
        change = -gradient / hessian
        fastest = max(fastest, 1e-9)
        w += min(max(change, -most_px / fastest), most_px / fastest)
        if w <= 0.2 * start or w > 5 * start:
            return 0.0, 0.0, 0.0
        if abs(change) * fastest < CONVERGED_PX:
            break
    return w, hessian, residual / trust
