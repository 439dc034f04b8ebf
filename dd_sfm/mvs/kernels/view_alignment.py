"""Where a view shows a slanted patch, free in both directions of the image: an observation of its own.

As in :mod:`dd_sfm.mvs.kernels.depth_search`, this is what is done for one pixel, on a CPU as on a GPU.
"""

import math
from typing import Any

import numpy as np

from dd_sfm.mvs.kernels.slanted_patches import (
    NO_TEXTURE,
    PATCH,
    Warp,
    grey_at,
    is_inside,
    plane_warp,
    reference_patch,
)
from dd_sfm.ops.compiled import Float32Array, Int64Array, Number, compiled_part
from dd_sfm.ops.packed_image import packed_coefficients

CONVERGED_PX = np.float32(0.01)
"""A patch has converged when a step is shorter than this."""
DAMPING = np.float32(0.02)
"""Share of the hessian's trace that is added to its diagonal."""


@compiled_part
def align_pixel(
    n: Any,
    cells: Int64Array,
    width: Any,
    shown: Any,
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    planes: Float32Array,
    asked: Any,
    step: Number,
    iterations: Any,
    most_px: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
    place: Float32Array,
    score: Float32Array,
) -> None:
    """Find where views really show the patch of a pixel: a shift in each image, free in both directions.

    Args as :mod:`dd_sfm.mvs.kernels.depth_search` has them, and ``asked`` (N, V) bool: which views are looked at;
    ``iterations``: most Gauss-Newton steps; ``most_px``: furthest from the predicted place; ``place`` (N, V, 2): gets
    the places in the views; ``score`` (N, V): gets the correlations there, -1 where there is none.
    """
    zero, one = np.float32(0), np.float32(1)
    for j in range(matrices.shape[0]):
        score[n, j] = -one
    u, v = pixels[n, 0], pixels[n, 1]
    height = np.int32(cells.shape[1] // width)
    if reference_patch(cells[shown[0]], width, height, u, v, step, offsets, PATCH, patch, weights) == zero:
        return
    for j in range(matrices.shape[0]):
        if asked[n, j]:
            warp = plane_warp(matrices[j], shifts[j], u, v, planes[n, 0], planes[n, 1], planes[n, 2])
            x, y, ncc = _align(
                cells[shown[1 + j]], width, height, warp, step, iterations, most_px, offsets, patch, weights
            )
            place[n, j, 0], place[n, j, 1], score[n, j] = x, y, ncc


@compiled_part
def _align(
    flat: Int64Array,
    width: Any,
    height: Any,
    warp: Warp,
    step: Number,
    iterations: Any,
    most_px: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
) -> tuple[Any, Any, Any]:
    """Place in a view, and correlation there, -1 where it is too far, outside or without texture."""
    zero, one = np.float32(0), np.float32(1)
    ox, oy, ncc = zero, zero, -one
    for turn in range(iterations + 1):
        if ox * ox + oy * oy > most_px * most_px:
            return zero, zero, -one
        if not is_inside(warp, np.float32(PATCH // 2) * step, ox, oy, width, height):
            return zero, zero, -one
        ncc, dx, dy = _step(flat, width, warp, ox, oy, step, offsets, patch, weights)
        if ncc <= -one:
            return zero, zero, -one
        if turn == iterations or dx * dx + dy * dy < CONVERGED_PX * CONVERGED_PX:
            break
        ox, oy = ox + dx, oy + dy
    return warp[0] / warp[6] + ox, warp[3] / warp[6] + oy, ncc


@compiled_part
def _step(
    flat: Int64Array,
    width: Any,
    warp: Warp,
    ox: Number,
    oy: Number,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
) -> tuple[Any, Any, Any]:
    """Correlation of a view's patch, moved by (ox, oy), with the reference's, and the Gauss-Newton step towards it.

    Returns:
        Correlation, -1 without texture, and the step along x and y.
    """
    zero, one = np.float32(0), np.float32(1)
    middle = grey_at(flat, width, warp[0] / warp[6] + ox, warp[3] / warp[6] + oy)
    sv, sx, sy, svv, svx, svy, sxx, sxy, syy, spv, spx, spy = _sums(
        flat, width, warp, ox, oy, middle, step, offsets, patch, weights
    )
    count = np.float32(PATCH * PATCH)
    mean = sv / count
    norm = svv - sv * mean
    if norm < count * NO_TEXTURE:
        return -one, zero, zero
    inverse = one / math.sqrt(norm)
    square = inverse * inverse
    ncc = spv * inverse
    ax, ay = (svx - sx * mean) * square, (svy - sy * mean) * square
    hxx = (sxx - sx * sx / count) * square - ax * ax
    hxy = (sxy - sx * sy / count) * square - ax * ay
    hyy = (syy - sy * sy / count) * square - ay * ay
    gx, gy = ax * ncc - spx * inverse, ay * ncc - spy * inverse
    # Along an edge nothing tells where the patch is, and damping lets it stay where it was predicted.
    damping = DAMPING * (hxx + hyy) + np.float32(1e-9)
    hxx += damping
    hyy += damping
    determinant = hxx * hyy - hxy * hxy
    return ncc, -(hyy * gx - hxy * gy) / determinant, -(hxx * gy - hxy * gx) / determinant


@compiled_part
def _sums(
    flat: Int64Array,
    width: Any,
    warp: Warp,
    ox: Number,
    oy: Number,
    middle: Number,
    step: Number,
    offsets: Float32Array,
    patch: Float32Array,
    weights: Float32Array,
) -> tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any, Any, Any, Any]:
    """One pass over a patch's samples in a view: all that correlation, gradient and hessian are made of.

    Returns:
        Weighted sums of values v less ``middle`` and of slopes x and y; of the products vv, vx, vy, xx, xy and yy; and
        sums of the products of v, x and y with the reference's patch.
    """
    zero, one = np.float32(0), np.float32(1)
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    sv, sx, sy, svv, svx, svy, sxx, sxy, syy = zero, zero, zero, zero, zero, zero, zero, zero, zero
    spv, spx, spy = zero, zero, zero
    for k in range(offsets.shape[1]):
        du, dv = offsets[0, k] * step, offsets[1, k] * step
        z = one / (z0 + zu * du + zv * dv)
        x, y = (x0 + xu * du + xv * dv) * z + ox, (y0 + yu * du + yv * dv) * z + oy
        column, row = np.int32(x), np.int32(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        a, b, c, d = packed_coefficients(flat[np.uint32(row * width + column)])
        gx, gy = b + d * fy, c + d * fx
        value = a - middle + b * fx + gy * fy
        weight, p = weights[k], patch[k]
        wv, wx, wy = weight * value, weight * gx, weight * gy
        sv += wv
        sx += wx
        sy += wy
        svv += wv * value
        svx += wv * gx
        svy += wv * gy
        sxx += wx * gx
        sxy += wx * gy
        syy += wy * gy
        spv += p * value
        spx += p * gx
        spy += p * gy
    return sv, sx, sy, svv, svx, svy, sxx, sxy, syy, spv, spx, spy
