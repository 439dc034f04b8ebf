"""Compiled sampling of image patches that lie on a slanted plane in space: what depth search and alignment share.

All of it works on single pixels, in 32-bit numbers and without memory of its own, so that the same source is compiled
for loops on a CPU and for threads of a GPU.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import Float32Array, Int64Array, Number, compiled_part
from dd_sfm.ops.packed_image import STEPS, packed_coefficients, packed_sample, packed_value

Warp = tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any]
"""See :func:`plane_warp`."""

PATCH = 11
"""Samples along a patch's side."""
WIDE_SPACINGS = (2.0, 3.0)
"""Pixels between samples of the wider patches that are tried in turn where those of the next pixels show too little."""
ROOM = 128
"""Samples that a patch has room for: ``PATCH`` squared, filled up to whole vectors of the processor."""
EDGE_GREY = np.float32(25.0 * STEPS)
"""A sample whose grey differs so much from that in the middle counts half."""
NO_TEXTURE = np.float32(0.05 * STEPS**2)
"""Variance of grey below which a view's patch shows nothing..."""
NO_REFERENCE_TEXTURE = np.float32(0.15 * STEPS**2)
"""...and one of the reference."""


@cache
def patch_offsets(side: int) -> NDArray[np.float32]:
    """Where the samples of a patch lie: columns and rows (2, M) float32 counted from its middle, row by row.

    M is ``side`` squared, rounded up to 16: what fills it up lies in the middle, and has no weight.
    """
    half = side // 2
    count = side * side
    offsets = np.zeros((2, -(-count // 16) * 16), np.float32)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    offsets[:, :count] = columns.ravel(), rows.ravel()
    return offsets


@compiled_part
def reference_patch(
    flat: Int64Array,
    width: Any,
    height: Any,
    u: Number,
    v: Number,
    step: Number,
    offsets: Float32Array,
    side: Any,
    patch: Float32Array,
    weights: Float32Array,
) -> Any:
    """Sample the patch around a pixel of the reference, and bring it to zero weighted mean and unit weighted norm.

    Args:
        flat: Cells of the reference (H * W,).
        width: Its columns.
        height: Its rows.
        u: Column of the pixel.
        v: Row of the pixel.
        step: Pixels between samples.
        offsets: Of ``side``, see :func:`patch_offsets`.
        side: Samples along the patch's side.
        patch: Gets the normalised samples times their weights (M,): the weighted correlation with other samples is
            their plain sum of products.
        weights: Gets the weights (M,), whose sum is ``side`` squared.

    Returns:
        How many samples of full weight these are worth, 0 where there is no texture or the patch leaves the image.
    """
    one, half = np.float32(1), side // 2
    reach = np.float32(half) * step + one
    if u < reach or v < reach or u >= np.float32(width) - reach - one or v >= np.float32(height) - reach - one:
        return np.float32(0)
    for k in range(offsets.shape[1]):
        x, y = u + offsets[0, k] * step, v + offsets[1, k] * step
        column, row = np.int32(x), np.int32(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        patch[k] = packed_sample(flat[np.uint32(row * width + column)], fx, fy)
    middle = np.float32(0)
    for i in range(half - 1, half + 2):
        for j in range(half - 1, half + 2):
            middle += patch[i * side + j]
    return _normalise(patch, weights, middle / np.float32(9), side * side, offsets.shape[1])


@compiled_part
def _normalise(patch: Float32Array, weights: Float32Array, middle: Number, count: Any, room: Any) -> Any:
    """Weight the samples of a reference by how near their grey is to that in the middle, and normalise them.

    Samples whose grey is far from that in the middle lie on another surface, or on another part of this one: across
    the contour of a fold a patch would otherwise stick to the nearer side.

    Returns:
        As :func:`reference_patch`.
    """
    zero, one = np.float32(0), np.float32(1)
    total, squares, mean = zero, zero, zero
    for k in range(room):
        patch[k] -= middle
        away = patch[k] / EDGE_GREY
        weight = one / (one + away * away) if k < count else zero
        weights[k] = weight
        total += weight
        squares += weight * weight
        mean += weight * patch[k]
    mean /= total
    scale, norm = np.float32(count) / total, zero
    for k in range(room):
        weights[k] *= scale
        patch[k] -= mean
        norm += weights[k] * patch[k] * patch[k]
    if norm < np.float32(count) * NO_REFERENCE_TEXTURE:
        return zero
    inverse = one / math.sqrt(norm)
    for k in range(room):
        patch[k] *= weights[k] * inverse
    return total * total / squares


@compiled_part
def plane_warp(
    matrix: Float32Array, shift: Float32Array, u: Number, v: Number, w: Number, gu: Number, gv: Number
) -> Warp:
    """How a view sees the plane around a pixel: x, y and z at (du, dv) from it, each constant, per du and per dv.

    The place in the view is (x / z, y / z); numerators and denominator are linear in (du, dv).
    """
    bx, by, bz = shift[0], shift[1], shift[2]
    return (
        matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] + w * bx, matrix[0, 0] + gu * bx, matrix[0, 1] + gv * bx,
        matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] + w * by, matrix[1, 0] + gu * by, matrix[1, 1] + gv * by,
        matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] + w * bz, matrix[2, 0] + gu * bz, matrix[2, 1] + gv * bz,
    )  # fmt: skip


@compiled_part
def is_inside(warp: Warp, reach: Number, ox: Number, oy: Number, width: Any, height: Any) -> bool:
    """Whether a warped square, ``reach`` to each side and moved by (ox, oy), can be sampled: its corners tell."""
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    one = np.float32(1)
    most_x, most_y = np.float32(width) - np.float32(2), np.float32(height) - np.float32(2)
    for corner in range(4):
        du = reach if corner & 1 else -reach
        dv = reach if corner & 2 else -reach
        z = z0 + zu * du + zv * dv
        if z < np.float32(1e-6):
            return False
        x, y = (x0 + xu * du + xv * dv) / z + ox, (y0 + yu * du + yv * dv) / z + oy
        if x < one or y < one or x >= most_x or y >= most_y:
            return False
    return True


@compiled_part
def grey_at(flat: Int64Array, width: Any, x: Number, y: Number) -> Any:
    """Value of the pixel at the upper left of a place: a constant near a patch's samples.

    Taken off them it keeps the digits that sums of squares would lose.
    """
    return packed_value(flat[np.uint32(np.int32(y) * width + np.int32(x))])


@compiled_part
def correlate(
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
    side: Any,
    patch: Float32Array,
    weights: Float32Array,
) -> Any:
    """Correlation of a view with a patch of the reference on a plane; -1 where the view does not show it.

    Args as :mod:`dd_sfm.mvs.kernels.depth_search` has them, and ``side``: samples along the patch's side.
    """
    zero, one = np.float32(0), np.float32(1)
    warp = plane_warp(matrix, shift, u, v, w, gu, gv)
    if not is_inside(warp, np.float32(side // 2) * step, zero, zero, width, height):
        return -one
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    middle = grey_at(flat, width, x0 / z0, y0 / z0)
    total, squares, along = zero, zero, zero
    for k in range(offsets.shape[1]):
        du, dv = offsets[0, k] * step, offsets[1, k] * step
        z = one / (z0 + zu * du + zv * dv)
        x, y = (x0 + xu * du + xv * dv) * z, (y0 + yu * du + yv * dv) * z
        column, row = np.int32(x), np.int32(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        a, b, c, d = packed_coefficients(flat[np.uint32(row * width + column)])
        value = a - middle + b * fx + (c + d * fx) * fy
        weighted = weights[k] * value
        total += weighted
        squares += weighted * value
        along += patch[k] * value
    count = np.float32(side * side)
    norm = squares - total * total / count
    if norm < count * NO_TEXTURE:
        return -one
    return along / math.sqrt(norm)
