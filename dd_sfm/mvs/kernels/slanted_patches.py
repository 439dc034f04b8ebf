"""Compiled sampling of image patches that lie on a slanted plane in space: what depth search and alignment share."""

from typing import Any

import numpy as np

from dd_sfm.ops.compiled import Float32Array, Number, compiled_part, inlined_part

Warp = tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any]
"""See :func:`plane_warp`."""

PATCH = 11
"""Samples along a patch's side."""
EDGE_GREY = np.float32(25.0)
"""A sample whose grey differs so much from that in the middle counts half."""
NO_TEXTURE = np.float32(0.05)
"""Variance of grey below which a view's patch shows nothing."""


@inlined_part
def bilinear(image: Float32Array, x: Number, y: Number) -> Any:
    """The image (H, W) at one fractional place inside it."""
    c, r = int(x), int(y)
    fx, fy = x - c, y - r
    top = image[r, c] * (1 - fx) + image[r, c + 1] * fx
    low = image[r + 1, c] * (1 - fx) + image[r + 1, c + 1] * fx
    return top * (1 - fy) + low * fy


@compiled_part
def normalise(values: Float32Array, weights: Float32Array, count: int, least: Number) -> Any:
    """Bring the first ``count`` values to zero weighted mean and unit weighted norm, times the roots of the weights.

    Plain sums of products of such values are then weighted ones.

    Args:
        values: Grey values; overwritten.
        weights: Roots of weights whose sum is ``count``.
        count: How many.
        least: Variance below which there is no texture.

    Returns:
        The factor, or 0 where there is no texture.
    """
    mean = np.float32(0)
    for k in range(count):
        mean += values[k] * weights[k] * weights[k]
    mean /= np.float32(count)
    norm = np.float32(0)
    for k in range(count):
        values[k] = (values[k] - mean) * weights[k]
        norm += values[k] * values[k]
    if norm < count * least:
        return np.float32(0)
    scale = np.float32(1) / np.sqrt(norm)
    for k in range(count):
        values[k] *= scale
    return scale


@compiled_part
def reference_patch(
    image: Float32Array, u: Number, v: Number, step: Number, side: int, patch: Float32Array, weights: Float32Array
) -> Any:
    """Fill ``patch`` with normalised grey values and ``weights`` with their roots; see :func:`normalise`.

    Samples whose grey is far from that in the middle lie on another surface, or on another part of this one: across
    the contour of a fold a patch would otherwise stick to the nearer side.

    Returns:
        How many samples of full weight these are worth, 0 where there is no texture or the patch leaves the image.
    """
    half = side // 2
    reach = half * step + 1
    if u < reach or v < reach or u >= image.shape[1] - reach - 1 or v >= image.shape[0] - reach - 1:
        return np.float32(0)
    count = side * side
    k = 0
    for i in range(side):
        for j in range(side):
            patch[k] = bilinear(image, u + (j - half) * step, v + (i - half) * step)
            k += 1
    middle = np.float32(0)
    for i in range(half - 1, half + 2):
        for j in range(half - 1, half + 2):
            middle += patch[i * side + j] / np.float32(9)
    total, squares = np.float32(0), np.float32(0)
    for m in range(count):
        away = (patch[m] - middle) / EDGE_GREY
        weights[m] = np.float32(1) / (np.float32(1) + away * away)
        total += weights[m]
        squares += weights[m] * weights[m]
    scale = np.float32(count) / total
    for m in range(count):
        weights[m] = np.sqrt(weights[m] * scale)
    if normalise(patch, weights, count, np.float32(0.15)) == 0:
        return np.float32(0)
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
def is_inside(warp: Warp, reach: Number, ox: Number, oy: Number, image: Float32Array) -> bool:
    """Whether a warped square, ``reach`` to each side and moved by (ox, oy), can be sampled: its corners tell."""
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    height, width = image.shape
    for corner in range(4):
        du = reach if corner & 1 else -reach
        dv = reach if corner & 2 else -reach
        z = z0 + zu * du + zv * dv
        if z < 1e-6:
            return False
        x, y = (x0 + xu * du + xv * dv) / z + ox, (y0 + yu * du + yv * dv) / z + oy
        if x < 1 or y < 1 or x >= width - 2 or y >= height - 2:
            return False
    return True


@compiled_part
def view_patch(
    image: Float32Array,
    matrix: Float32Array,
    shift: Float32Array,
    u: Number,
    v: Number,
    w: Number,
    gu: Number,
    gv: Number,
    step: Number,
    side: int,
    values: Float32Array,
    slopes: Float32Array,
) -> Any:
    """Sample a view; ``slopes`` get the change of grey with w. Returns the change of place with w, or -1 outside."""
    half = side // 2
    warp = plane_warp(matrix, shift, u, v, w, gu, gv)
    # The loop below then needs no test, and runs in vectors.
    if not is_inside(warp, np.float32(half) * step, np.float32(0), np.float32(0), image):
        return np.float32(-1)
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    bx, by, bz = shift[0], shift[1], shift[2]
    width = np.int32(image.shape[1])
    flat = image.ravel()
    one = np.float32(1)
    for i in range(side):
        dv = np.float32(i - half) * step
        for j in range(side):
            du = np.float32(j - half) * step
            z = one / (z0 + zu * du + zv * dv)
            x = (x0 + xu * du + xv * dv) * z
            y = (y0 + yu * du + yv * dv) * z
            col, row = np.int32(x), np.int32(y)
            fx, fy = x - np.float32(col), y - np.float32(row)
            at = row * width + col
            p00, p01 = flat[at], flat[at + 1]
            p10, p11 = flat[at + width], flat[at + width + 1]
            top, low = p00 + (p01 - p00) * fx, p10 + (p11 - p10) * fx
            k = i * side + j
            values[k] = top + (low - top) * fy
            gx = (p01 - p00) * (one - fy) + (p11 - p10) * fy
            slopes[k] = (gx * (bx - x * bz) + (low - top) * (by - y * bz)) * z
    x, y = x0 / z0, y0 / z0
    dx, dy = (bx - x * bz) / z0, (by - y * bz) / z0
    return np.sqrt(dx * dx + dy * dy)


@compiled_part
def moved_patch(
    image: Float32Array,
    warp: Warp,
    ox: Number,
    oy: Number,
    side: int,
    values: Float32Array,
    sx: Float32Array,
    sy: Float32Array,
) -> bool:
    """Sample a view moved by (ox, oy) pixels, with the slopes of grey along x and y; False outside."""
    half = side // 2
    if not is_inside(warp, np.float32(half), ox, oy, image):
        return False
    x0, xu, xv, y0, yu, yv, z0, zu, zv = warp
    width = np.int32(image.shape[1])
    flat = image.ravel()
    one = np.float32(1)
    for i in range(side):
        dv = np.float32(i - half)
        for j in range(side):
            du = np.float32(j - half)
            z = one / (z0 + zu * du + zv * dv)
            x = (x0 + xu * du + xv * dv) * z + ox
            y = (y0 + yu * du + yv * dv) * z + oy
            col, row = np.int32(x), np.int32(y)
            fx, fy = x - np.float32(col), y - np.float32(row)
            at = row * width + col
            p00, p01 = flat[at], flat[at + 1]
            p10, p11 = flat[at + width], flat[at + width + 1]
            top, low = p00 + (p01 - p00) * fx, p10 + (p11 - p10) * fx
            k = i * side + j
            values[k] = top + (low - top) * fy
            sx[k] = (p01 - p00) * (one - fy) + (p11 - p10) * fy
            sy[k] = low - top
    return True
