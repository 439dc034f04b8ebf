"""Where a view shows a slanted patch, free in both directions of the image: an observation of its own."""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from dd_sfm.mvs.kernels.slanted_patches import (
    NO_TEXTURE,
    PATCH,
    moved_patch,
    normalise,
    plane_warp,
    reference_patch,
)
from dd_sfm.ops.compiled import Float32Array, Number, compiled, compiled_part

CONVERGED_PX = 0.01
"""A patch has converged when a step is shorter than this."""


@compiled
def align_in_view(
    reference: Float32Array,
    view: Float32Array,
    matrix: Float32Array,
    shift: Float32Array,
    pixels: Float32Array,
    planes: NDArray[Any],
    iterations: int,
    most_px: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where a view really shows each pixel's patch: a shift in the image, free in both directions.

    Args:
        reference: Grey reference (H, W) float32.
        view: Grey view (H, W) float32.
        matrix: A (3, 3) float32.
        shift: b (3,) float32.
        pixels: (N, 2) float32.
        planes: Inverse depth and its slopes (N, 3) float32.
        iterations: Most Gauss-Newton steps.
        most_px: Furthest from the predicted place.

    Returns:
        Place in the view (N, 2) float32 and correlation there (N,) float32, -1 where it failed.
    """
    count = pixels.shape[0]
    place = np.zeros((count, 2), np.float32)
    score = np.full(count, -1.0, np.float32)
    size = PATCH * PATCH
    for n in prange(count):
        patch, weights, values = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
        sx, sy = np.empty(size, np.float32), np.empty(size, np.float32)
        u, v = pixels[n, 0], pixels[n, 1]
        if reference_patch(reference, u, v, 1.0, PATCH, patch, weights) == 0:
            continue
        warp = plane_warp(matrix, shift, u, v, planes[n, 0], planes[n, 1], planes[n, 2])
        ox, oy = np.float32(0), np.float32(0)
        for turn in range(iterations + 1):
            score[n] = -1.0
            if ox * ox + oy * oy > most_px * most_px or not moved_patch(view, warp, ox, oy, PATCH, values, sx, sy):
                break
            scale = normalise(values, weights, size, NO_TEXTURE)
            if scale == 0:
                break
            ncc, dx, dy = _step(patch, weights, values, sx, sy, scale, size)
            score[n] = ncc
            place[n, 0], place[n, 1] = warp[0] / warp[6] + ox, warp[3] / warp[6] + oy
            if turn == iterations or dx * dx + dy * dy < CONVERGED_PX * CONVERGED_PX:
                break
            ox, oy = ox + dx, oy + dy
    return place, score


@compiled_part
def _step(
    patch: Float32Array,
    weights: Float32Array,
    values: Float32Array,
    sx: Float32Array,
    sy: Float32Array,
    scale: Number,
    size: int,
) -> tuple[Any, Any, Any]:
    """Correlation of two normalised patches, and the Gauss-Newton step of the second towards the first."""
    mx, my = np.float32(0), np.float32(0)
    for m in range(size):
        mx += sx[m] * weights[m] * weights[m]
        my += sy[m] * weights[m] * weights[m]
    mx, my = mx / size, my / size
    ncc, ax, ay = np.float32(0), np.float32(0), np.float32(0)
    for m in range(size):
        ncc += patch[m] * values[m]
        sx[m] = (sx[m] - mx) * weights[m] * scale
        sy[m] = (sy[m] - my) * weights[m] * scale
        ax += sx[m] * values[m]
        ay += sy[m] * values[m]
    hxx, hxy, hyy, bx, by = np.float32(0), np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for m in range(size):
        jx, jy = sx[m] - ax * values[m], sy[m] - ay * values[m]
        error = values[m] - patch[m]
        hxx += jx * jx
        hxy += jx * jy
        hyy += jy * jy
        bx += jx * error
        by += jy * error
    # A little damping: along an edge nothing tells where the patch is, and it stays where it was predicted.
    damping = np.float32(0.02) * (hxx + hyy) + np.float32(1e-9)
    hxx += damping
    hyy += damping
    determinant = hxx * hyy - hxy * hxy
    return ncc, -(hyy * bx - hxy * by) / determinant, -(hxx * by - hxy * bx) / determinant
