"""Depth of single pixels against many views at once: normalised correlation of slanted patches.

A pixel (u, v) of the reference at inverse depth w is seen by view j at A_j (u, v, 1) + w b_j with
A_j = K R_j R_0^T K^-1 and b_j = K (t_j - R_j R_0^T t_0). Around it the surface is a plane: inverse depth is linear in
the image, with slopes gu and gv. One number a pixel is searched for, so that the views vote together.

What is done for one pixel is here, for the loops of a CPU (:mod:`dd_sfm.mvs.kernels.cpu_loops`) and the threads of a
GPU (:mod:`dd_sfm.mvs.kernels.cuda_loops`). Arguments of the same name mean the same everywhere; arrays are float32
unless it is said otherwise:

- ``n``: which pixel; ``pixels`` (N, 2): their columns and rows.
- ``cells`` (S, H * W) int64: bilinear cells of images of ``width`` columns; ``shown`` (1 + V,) int32: which of them are
  the reference and its views; ``flat`` (H * W,): one of them.
- ``matrices`` (V, 3, 3) and ``shifts`` (V, 3): A and b of the views; ``matrix`` and ``shift``: of one.
- ``u``, ``v``, ``w``, ``gu``, ``gv``: a pixel's column, row, inverse depth, and the slopes of this.
- ``step``: pixels between the samples of a patch; ``offsets`` (2, M): where they lie, in steps.
- ``patch`` (M,) and ``weights`` (M,): the reference's, or room for them.
"""

import math
from typing import Any

import numpy as np

from dd_sfm.mvs.kernels.slanted_patches import (
    NO_TEXTURE,
    PATCH,
    Warp,
    correlate,
    grey_at,
    is_inside,
    plane_warp,
    reference_patch,
)
from dd_sfm.ops.compiled import Float32Array, Int64Array, Number, compiled_part
from dd_sfm.ops.packed_image import packed_coefficients

MIN_NCC = np.float32(0.3)
"""A view votes for a depth by how far its correlation lies above this."""
SAMPLES_AS_ONE = np.float32(9.0)
"""Neighbouring samples of a patch are not independent: so many of them count as one."""
COARSE_PATCH = 7
"""Samples along the side of the patches that hypotheses are compared with."""


@compiled_part
def choose_pixel(
    n: Any,
    cells: Int64Array,
    width: Any,
    shown: Any,
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    hypotheses: Float32Array,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
    found: Float32Array,
    best: Any,
    score: Float32Array,
) -> None:
    """Choose the hypothesis whose correlation, as the mean over the better half of the views, is the best.

    Args as the module has them, and ``hypotheses`` (N, K, 3): inverse depth and its slopes; ``found`` (V,): room for
    correlations; ``best`` (N,) int32: gets the index of the hypothesis, -1 for none; ``score`` (N,): gets its mean.
    """
    best[n], score[n] = -1, np.float32(-1)
    u, v = pixels[n, 0], pixels[n, 1]
    height = np.int32(cells.shape[1] // width)
    most = np.float32(0)
    for k in range(hypotheses.shape[1]):
        most = max(most, hypotheses[n, k, 0])
    if most <= np.float32(0):
        return
    reference = cells[shown[0]]
    if reference_patch(reference, width, height, u, v, step, offsets, COARSE_PATCH, patch, weights) == np.float32(0):
        return
    for k in range(hypotheses.shape[1]):
        w, gu, gv = hypotheses[n, k, 0], hypotheses[n, k, 1], hypotheses[n, k, 2]
        if w <= np.float32(0):
            continue
        seen = 0
        for j in range(matrices.shape[0]):
            ncc = correlate(
                cells[shown[1 + j]], width, height, matrices[j], shifts[j], u, v, w, gu, gv, step, offsets,
                COARSE_PATCH, patch, weights,
            )  # fmt: skip
            if ncc > np.float32(-1):
                _insert(found, seen, ncc)
                seen += 1
        mean = _mean_of_better_half(found, seen)
        if mean > score[n]:
            score[n], best[n] = mean, k


@compiled_part
def _insert(found: Float32Array, count: Any, value: Number) -> None:
    """Enter a value into the first ``count``, which are in descending order."""
    at = count
    while at > 0 and found[at - 1] < value:
        found[at] = found[at - 1]
        at -= 1
    found[at] = value


@compiled_part
def _mean_of_better_half(found: Float32Array, count: Any) -> Any:
    """Of values in descending order; -1 for fewer than two."""
    if count < 2:
        return np.float32(-1)
    total, half = np.float32(0), count - count // 2
    for j in range(half):
        total += found[j]
    return total / np.float32(half)


@compiled_part
def vote(
    flat: Int64Array,
    width: Any,
    height: Any,
    matrix: Float32Array,
    shift: Float32Array,
    u: Number,
    v: Number,
    w: Number,
    gu: Number,
    gv: Number,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
) -> tuple[Any, Any, Any, Any]:
    """What one view says of a depth.

    Returns:
        Correlation, hessian and gradient of half the squared difference of the normalised patches by inverse depth,
        and pixels that the patch moves by inverse depth; the correlation is -1 where the view does not see the patch.
    """
    zero, one = np.float32(0), np.float32(1)
    warp = plane_warp(matrix, shift, u, v, w, gu, gv)
    if not is_inside(warp, np.float32(PATCH // 2) * step, zero, zero, width, height):
        return -one, zero, zero, zero
    x, y, z = warp[0] / warp[6], warp[3] / warp[6], warp[6]
    sv, ss, svv, sss, svs, spv, sps = _sums(
        flat, width, warp, shift, grey_at(flat, width, x, y), step, offsets, patch, weights
    )
    count = np.float32(PATCH * PATCH)
    mean = sv / count
    norm = svv - sv * mean
    if norm < count * NO_TEXTURE:
        return -one, zero, zero, zero
    inverse = one / math.sqrt(norm)
    ncc = spv * inverse
    # The change of a normalised patch has no part along a constant nor along the patch itself.
    along = (svs - ss * mean) * inverse * inverse
    hessian = max((sss - ss * ss / count) * inverse * inverse - along * along, zero)
    gradient = along * ncc - sps * inverse
    dx, dy = (shift[0] - x * shift[2]) / z, (shift[1] - y * shift[2]) / z
    return ncc, hessian, gradient, math.sqrt(dx * dx + dy * dy)


@compiled_part
def _sums(
    flat: Int64Array,
    width: Any,
    warp: Warp,
    shift: Float32Array,
    middle: Number,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    """One pass over a patch's samples in a view: all that correlation, gradient and hessian are made of.

    Returns:
        Weighted sums of values less ``middle``, of slopes by inverse depth, of the squares of both and of their
        product; and sums of the products of values and of slopes with the reference's patch.
    """
    zero, one = np.float32(0), np.float32(1)
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    bx, by, bz = shift[0], shift[1], shift[2]
    sv, ss, svv, sss, svs, spv, sps = zero, zero, zero, zero, zero, zero, zero
    for k in range(offsets.shape[1]):
        du, dv = offsets[0, k] * step, offsets[1, k] * step
        z = one / (z0 + zu * du + zv * dv)
        x, y = (x0 + xu * du + xv * dv) * z, (y0 + yu * du + yv * dv) * z
        column, row = np.int32(x), np.int32(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        a, b, c, d = packed_coefficients(flat[np.uint32(row * width + column)])
        down = c + d * fx
        value = a - middle + b * fx + down * fy
        slope = ((b + d * fy) * (bx - x * bz) + down * (by - y * bz)) * z
        weighted, sloped = weights[k] * value, weights[k] * slope
        sv += weighted
        ss += sloped
        svv += weighted * value
        sss += sloped * slope
        svs += weighted * slope
        spv += patch[k] * value
        sps += patch[k] * slope
    return sv, ss, svv, sss, svs, spv, sps


@compiled_part
def refine_pixel(
    n: Any,
    cells: Int64Array,
    width: Any,
    shown: Any,
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    planes: Float32Array,
    step: Number,
    iterations: Any,
    most_px: Number,
    converged_px: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
    inverse: Float32Array,
    information: Float32Array,
    correlation: Float32Array,
) -> None:
    """Refine a depth by Gauss-Newton with patches of zero mean and unit norm.

    Args as the module has them, and ``planes`` (N, 3): inverse depth and its slopes; ``iterations``: most steps;
    ``most_px``: largest movement of a step in any view; ``converged_px``: movement by which the last one ends;
    ``inverse`` (N,): gets the inverse depth, 0 where it failed;
    ``information`` (N,): gets the inverse variance of it; ``correlation`` (N, V): gets that of each view.
    """
    zero, one = np.float32(0), np.float32(1)
    inverse[n], information[n] = zero, zero
    for j in range(matrices.shape[0]):
        correlation[n, j] = -one
    u, v, start = pixels[n, 0], pixels[n, 1], planes[n, 0]
    if start <= zero:
        return
    height = np.int32(cells.shape[1] // width)
    worth = reference_patch(cells[shown[0]], width, height, u, v, step, offsets, PATCH, patch, weights)
    if worth == zero:
        return
    w, hessian, residual = start, zero, zero
    for turn in range(iterations + 1):
        hessian, gradient, fastest, residual, trust = _all_votes(
            cells, width, height, shown, matrices, shifts, u, v, w, planes[n, 1] * (w / start),
            planes[n, 2] * (w / start), step, offsets, patch, weights, correlation[n],
        )  # fmt: skip
        if hessian <= np.float32(1e-12) or trust < one:
            return
        if turn == iterations:
            break
        change, most = -gradient / hessian, most_px / fastest
        w += min(max(change, -most), most)
        if w <= np.float32(0.2) * start or w > np.float32(5) * start:
            return
        if abs(change) * fastest < converged_px:
            break
    variance = max(residual, np.float32(1e-3)) / worth * SAMPLES_AS_ONE
    inverse[n], information[n] = w, hessian / variance


@compiled_part
def _all_votes(
    cells: Int64Array,
    width: Any,
    height: Any,
    shown: Any,
    matrices: Float32Array,
    shifts: Float32Array,
    u: Number,
    v: Number,
    w: Number,
    gu: Number,
    gv: Number,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
    correlation: Float32Array,
) -> tuple[Any, Any, Any, Any, Any]:
    """The votes of all views on a depth, weighted by how well they correlate.

    Returns:
        Hessian and gradient; the fastest movement in any view in pixels by inverse depth; the mean squared difference
        of the patches; and the sum of weights.
    """
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    hessian, gradient, fastest, residual, trust = zero, zero, np.float32(1e-9), zero, zero
    for j in range(matrices.shape[0]):
        ncc, h, g, speed = vote(
            cells[shown[1 + j]], width, height, matrices[j], shifts[j], u, v, w, gu, gv, step, offsets, patch, weights
        )
        correlation[j] = ncc
        weight = (ncc - MIN_NCC) / (one - MIN_NCC)
        if weight > zero:
            hessian += weight * h
            gradient += weight * g
            residual += weight * (two - two * ncc)
            trust += weight
            fastest = max(fastest, speed)
    return hessian, gradient, fastest, residual / max(trust, np.float32(1e-9)), trust
