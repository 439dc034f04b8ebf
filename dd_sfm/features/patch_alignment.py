"""Sub-pixel alignment of image patches: Lucas-Kanade that is invariant to gain and offset of brightness."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.ops.compiled import Float32Array, Int64Array, Number, compiled_for_workers, compiled_part
from dd_sfm.ops.packed_image import STEPS, packed_sample, packed_value, packed_window

MIN_VARIANCE = 0.05 * STEPS**2
"""Smallest variance of grey values of a patch with texture, in steps; below it, rounding dominates."""
CONVERGED_PX = 0.05
"""The iteration ends when a step is shorter than this."""
MAX_SHRINKING = 0.5
"""Steps are lengthened as if they shrank by no more than this factor from one to the next."""


@dataclass(frozen=True)
class Alignment:
    """Result of :func:`align_patches` for N points.

    ``xy`` (N, 2) aligned places in the target; ``ncc`` (N,) normalised correlation there, in [-1, 1];
    ``sigma_px`` (N,) standard error of the place along its weakest direction, from the patch's gradients and what
    is left of the difference.
    """

    xy: Tensor
    ncc: Tensor
    sigma_px: Tensor


def align_patches(
    source: Int64Array,
    target: Int64Array,
    xy0: Tensor,
    xy1: Tensor,
    affine: NDArray[Any],
    *,
    radius: int = 10,
    iterations: int = 8,
    max_move_px: float = 3.0,
) -> Alignment:
    """Refine ``xy1`` so that the target patch looks like the source patch around ``xy0``.

    Inverse compositional Lucas-Kanade (Baker and Matthews, IJCV 2004) on patches of zero mean and unit norm; the
    source patch is laid into the target through a fixed local affine map, so that wide baselines stay aligned.

    Args:
        source: Grey image (H, W) from :func:`dd_sfm.ops.packed_image.pack_image`.
        target: The same of the other view (H', W').
        xy0: Points in the source (N, 2) float.
        xy1: Initial matches in the target (N, 2) float.
        affine: d(target) / d(source) at each point (N, 2, 2).
        radius: Half the side of a patch in pixels.
        iterations: Most Gauss-Newton steps.
        max_move_px: Largest total move; points that would move further, and those that are not finite numbers, stay
            where they were, with ncc -1. Patches without texture have ncc 0.
    """
    start = np.ascontiguousarray(xy1.cpu().numpy(), np.float32)
    origin = np.ascontiguousarray(xy0.cpu().numpy(), np.float32)
    warp = np.ascontiguousarray(affine, np.float32)
    # The compiled loop would use a NaN as an index.
    good = np.isfinite(origin).all(1) & np.isfinite(start).all(1) & np.isfinite(warp).all((1, 2))
    rows = np.flatnonzero(good)
    steps = np.arange(-radius, radius + 1, dtype=np.float32)
    offset = np.stack([g.ravel() for g in np.meshgrid(steps, steps)])
    parts = np.array_split(rows, alignment_threads(xy1.device))

    def align(part: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        most = np.float32(max_move_px)
        return tuple(_align_compiled(source, target, origin[part], start[part], warp[part], offset, iterations, most))

    if len(parts) == 1:
        found = [align(rows)]
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(align, parts))
    xy, ncc, sigma = start.copy(), np.full(len(start), -1, np.float32), np.full(len(start), np.inf, np.float32)
    for column, values in zip((xy, ncc, sigma), zip(*found, strict=True), strict=True):
        column[rows] = np.concatenate(values)
    return Alignment(*(torch.from_numpy(column).to(xy1.device) for column in (xy, ncc, sigma)))


def alignment_threads(device: torch.device) -> int:
    """Threads that share the points of one pair of frames.

    On a CPU every pair has a thread of its own. With a GPU one call aligns all points: they are split over
    the threads that torch may use.
    """
    return torch.get_num_threads() if device.type == "cuda" else 1


@compiled_part
def _template(
    source: Int64Array, u: Number, v: Number, window: Float32Array, patch: Float32Array, template: Float32Array
) -> tuple[Any, Any, Any]:
    """Sample a patch and its steepest descent images; return the Hessian's entries, all 0 without texture.

    The patch has zero mean and unit norm. The components of the gradients along a constant and along the patch
    change only the mean and the norm, which normalisation removes; so they are taken out.
    """
    _sample_template(source, u, v, window, patch, template)
    grey, jx, jy = template[0], template[1], template[2]
    size = grey.shape[0]
    one, count = np.float32(1), np.float32(size)
    mean, mean_x, mean_y = np.float32(0), np.float32(0), np.float32(0)
    for k in range(size):
        mean += grey[k]
        mean_x += jx[k]
        mean_y += jy[k]
    mean /= count
    mean_x /= count
    mean_y /= count
    norm = np.float32(0)
    for k in range(size):
        grey[k] -= mean
        norm += grey[k] * grey[k]
    if norm < np.float32(MIN_VARIANCE) * count:
        return np.float32(0), np.float32(0), np.float32(0)
    scale = one / np.sqrt(norm)
    along_x, along_y = np.float32(0), np.float32(0)
    for k in range(size):
        grey[k] *= scale
        jx[k] = (jx[k] - mean_x) * scale
        jy[k] = (jy[k] - mean_y) * scale
        along_x += grey[k] * jx[k]
        along_y += grey[k] * jy[k]
    hxx = np.float32(1e-6)
    hxy = np.float32(0)
    hyy = np.float32(1e-6)
    for k in range(size):
        jx[k] -= grey[k] * along_x
        jy[k] -= grey[k] * along_y
        hxx += jx[k] * jx[k]
        hxy += jx[k] * jy[k]
        hyy += jy[k] * jy[k]
    return hxx, hxy, hyy


@compiled_part
def _sample_template(
    source: Int64Array, u: Number, v: Number, window: Float32Array, patch: Float32Array, template: Float32Array
) -> None:
    """Fill a patch of grey values and their central differences; beyond the image its edge goes on.

    All its samples lie at the same place between their pixels: no scattered loads are needed.
    """
    side = patch.shape[0] - 2
    row, column = np.int32(np.floor(v)), np.int32(np.floor(u))
    fx, fy = u - np.float32(column), v - np.float32(row)
    packed_window(source, row - side // 2 - 1, column - side // 2 - 1, window)
    one = np.float32(1)
    a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    for i in range(side + 2):
        upper, lower = window[i], window[i + 1]
        for j in range(side + 2):
            patch[i, j] = upper[j] * a + upper[j + 1] * b + lower[j] * c + lower[j + 1] * d
    half = np.float32(0.5)
    for i in range(side):
        above, middle, below = patch[i], patch[i + 1], patch[i + 2]
        line = template[:, i * side : (i + 1) * side]
        grey, jx, jy = line[0], line[1], line[2]
        for j in range(side):
            grey[j] = middle[j + 1]
            jx[j] = (middle[j + 2] - middle[j]) * half
            jy[j] = (below[j + 1] - above[j + 1]) * half


@compiled_part
def _correlate(
    target: Int64Array, x0: Number, y0: Number, warp: Float32Array, offset: Float32Array, template: Float32Array
) -> tuple[Any, Any, Any]:
    """Correlate a patch with the target at a place; also returns the right side of the normal equations."""
    height, width = np.int32(target.shape[0]), np.int32(target.shape[1])
    flat = target.ravel()
    du, dv = offset[0], offset[1]
    grey, jx, jy = template[0], template[1], template[2]
    zero, one = np.float32(0), np.float32(1)
    xu, xv, yu, yv = warp[0, 0], warp[0, 1], warp[1, 0], warp[1, 1]
    most_x, most_y = np.float32(width) - np.float32(1.001), np.float32(height) - np.float32(1.001)
    # A value of the patch is subtracted from all: the sum of squares then loses fewer digits.
    at = np.int32(min(max(y0, zero), most_y)) * width + np.int32(min(max(x0, zero), most_x))
    middle = packed_value(flat[np.uint32(at)])
    total, square, dot, bx, by = zero, zero, zero, zero, zero
    for k in range(du.shape[0]):
        x = min(max(x0 + xu * du[k] + xv * dv[k], zero), most_x)
        y = min(max(y0 + yu * du[k] + yv * dv[k], zero), most_y)
        column, row = np.int32(x), np.int32(y)
        cell = flat[np.uint32(row * width + column)]
        value = packed_sample(cell, x - np.float32(column), y - np.float32(row)) - middle
        total += value
        square += value * value
        dot += value * grey[k]
        bx += value * jx[k]
        by += value * jy[k]
    size = np.float32(du.shape[0])
    variance = square - total * total / size
    if variance < np.float32(MIN_VARIANCE) * size:
        return zero, zero, zero
    norm = np.sqrt(variance)
    return min(dot / norm, one), bx / norm, by / norm


@compiled_for_workers
def _align_compiled(
    source: Int64Array,
    target: Int64Array,
    xy0: Float32Array,
    xy1: Float32Array,
    affine: Float32Array,
    offset: Float32Array,
    iterations: int,
    most: Number,
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The compiled loop of :func:`align_patches` over all points; ``offset`` (2, S) of a patch's samples."""
    count, size = xy0.shape[0], offset.shape[1]
    side = int(np.sqrt(size) + 0.5)
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    window, patch = np.empty((side + 3, side + 3), np.float32), np.empty((side + 2, side + 2), np.float32)
    template = np.empty((3, size), np.float32)
    place = xy1.copy()
    score = np.empty(count, np.float32)
    sigma = np.empty(count, np.float32)
    for n in range(count):
        hxx, hxy, hyy = _template(source, xy0[n, 0], xy0[n, 1], window, patch, template)
        if hxx <= zero:
            score[n], sigma[n] = zero, np.float32(1e3)
            continue
        determinant = max(hxx * hyy - hxy * hxy, np.float32(1e-12))
        warp, x, y = affine[n], xy1[n, 0], xy1[n, 1]
        ncc, far, u, v = zero, False, zero, zero
        for _ in range(iterations):
            ncc, bx, by = _correlate(target, x, y, warp, offset, template)
            du, dv = (hyy * bx - hxy * by) / determinant, (hxx * by - hxy * bx) / determinant
            # Noise in the gradients makes steps too short, always by about the same factor: what all steps to come
            # would add up to is estimated from the last one (Aitken's method), along it.
            shrinking = (du * u + dv * v) / max(u * u + v * v, np.float32(1e-8))
            longer = one / (one - min(max(shrinking, zero), np.float32(MAX_SHRINKING)))
            u, v = du * longer, dv * longer
            dx, dy = warp[0, 0] * u + warp[0, 1] * v, warp[1, 0] * u + warp[1, 1] * v
            length = np.sqrt(dx * dx + dy * dy)
            shorten = one / max(length, one)
            x, y = x - dx * shorten, y - dy * shorten
            far = (x - xy1[n, 0]) ** 2 + (y - xy1[n, 1]) ** 2 > most * most
            if far or length < np.float32(CONVERGED_PX):
                break
        if not far:
            place[n, 0], place[n, 1] = x, y
        smallest = (hxx + hyy) / two - np.sqrt(((hxx - hyy) / two) ** 2 + hxy * hxy)
        # The squared difference of two unit-norm patches is 2 - 2 ncc, spread over the samples.
        sigma[n] = np.sqrt(max(two - two * ncc, zero) / np.float32(size) / max(smallest, np.float32(1e-9)))
        score[n] = -one if far else ncc
    return place, score, sigma
