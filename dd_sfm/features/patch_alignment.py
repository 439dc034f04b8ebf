"""Sub-pixel alignment of image patches: Lucas-Kanade that is invariant to gain and offset of brightness."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.ops.compiled import Float32Array, Number, compiled_for_workers, compiled_part, inlined_part

MIN_VARIANCE = 0.05
"""Smallest variance of grey values of a patch with texture; below it, rounding dominates."""
CONVERGED_PX = 0.01
"""The iteration ends when a step is shorter than this."""


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


def gradient_images(image: NDArray[Any]) -> NDArray[np.float32]:
    """Grey image (H, W) -> (3, H, W): grey, and its central differences along x and y."""
    padded = np.pad(image.astype(np.float32), 1, mode="edge")
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    return np.stack([padded[1:-1, 1:-1], dx, dy])


def align_patches(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
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
        source: (3, H, W) from :func:`gradient_images`.
        target: (H', W') grey.
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
    image = np.ascontiguousarray(target, np.float32)
    # The compiled loop would use a NaN as an index.
    good = np.isfinite(origin).all(1) & np.isfinite(start).all(1) & np.isfinite(warp).all((1, 2))
    rows = np.flatnonzero(good)
    parts = np.array_split(rows, alignment_threads(xy1.device))

    def align(part: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        most = np.float32(max_move_px)
        return tuple(_align_compiled(source, image, origin[part], start[part], warp[part], radius, iterations, most))

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
    source: Float32Array, u: Number, v: Number, radius: int, grey: Float32Array, jx: Float32Array, jy: Float32Array
) -> tuple[Any, Any, Any]:
    """Sample a patch and its steepest descent images; return the Hessian's entries, all 0 without texture.

    The patch has zero mean and unit norm. The components of the gradients along a constant and along the patch
    change only the mean and the norm, which normalisation removes; so they are taken out.
    """
    side = 2 * radius + 1
    size = side * side
    one = np.float32(1)
    _sample_template(source, u, v, radius, grey, jx, jy)
    mean, mean_x, mean_y = np.float32(0), np.float32(0), np.float32(0)
    for k in range(size):
        mean += grey[k]
        mean_x += jx[k]
        mean_y += jy[k]
    mean /= size
    mean_x /= size
    mean_y /= size
    norm = np.float32(0)
    for k in range(size):
        grey[k] -= mean
        norm += grey[k] * grey[k]
    if norm < np.float32(MIN_VARIANCE) * size:
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


@inlined_part
def _sample_template(
    source: Float32Array, u: Number, v: Number, radius: int, grey: Float32Array, jx: Float32Array, jy: Float32Array
) -> None:
    """Fill a patch of grey values and their gradients; beyond the image its edge goes on."""
    height, width = source.shape[1:]
    side = 2 * radius + 1
    one = np.float32(1)
    flat, flat_x, flat_y = source[0].ravel(), source[1].ravel(), source[2].ravel()
    most_x, most_y = np.float32(width) - np.float32(1.001), np.float32(height) - np.float32(1.001)
    for i in range(side):
        y = min(max(v + np.float32(i - radius), np.float32(0)), most_y)
        row = np.int32(y)
        fy = y - np.float32(row)
        for j in range(side):
            x = min(max(u + np.float32(j - radius), np.float32(0)), most_x)
            column = np.int32(x)
            fx = x - np.float32(column)
            at = row * np.int32(width) + column
            below = at + np.int32(width)
            a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
            k = i * side + j
            grey[k] = flat[at] * a + flat[at + 1] * b + flat[below] * c + flat[below + 1] * d
            jx[k] = flat_x[at] * a + flat_x[at + 1] * b + flat_x[below] * c + flat_x[below + 1] * d
            jy[k] = flat_y[at] * a + flat_y[at + 1] * b + flat_y[below] * c + flat_y[below + 1] * d


@compiled_part
def _correlate(
    target: Float32Array,
    x0: Number,
    y0: Number,
    warp: Float32Array,
    radius: int,
    grey: Float32Array,
    jx: Float32Array,
    jy: Float32Array,
) -> tuple[Any, Any, Any]:
    """Correlate a patch with the target at a place; also returns the right side of the normal equations."""
    height, width = target.shape
    flat = target.ravel()
    side = 2 * radius + 1
    most_x, most_y = np.float32(width) - np.float32(1.001), np.float32(height) - np.float32(1.001)
    # A value of the patch is subtracted from all: the sum of squares then loses fewer digits.
    middle = flat[
        np.uint32(
            np.int32(min(max(y0, np.float32(0)), most_y)) * np.int32(width)
            + np.int32(min(max(x0, np.float32(0)), most_x))
        )
    ]
    total = np.float32(0)
    square = np.float32(0)
    dot = np.float32(0)
    bx = np.float32(0)
    by = np.float32(0)
    for i in range(side):
        dv = np.float32(i - radius)
        left, top = x0 + warp[0, 1] * dv, y0 + warp[1, 1] * dv
        for j in range(side):
            du = np.float32(j - radius)
            x = min(max(left + warp[0, 0] * du, np.float32(0)), most_x)
            y = min(max(top + warp[1, 0] * du, np.float32(0)), most_y)
            column, row = np.int32(x), np.int32(y)
            fx, fy = x - np.float32(column), y - np.float32(row)
            at = np.uint32(row * np.int32(width) + column)
            p00, p01 = flat[at], flat[at + np.uint32(1)]
            p10, p11 = flat[at + np.uint32(width)], flat[at + np.uint32(width + 1)]
            upper = p00 + (p01 - p00) * fx
            lower = p10 + (p11 - p10) * fx
            value = upper + (lower - upper) * fy - middle
            k = i * side + j
            total += value
            square += value * value
            dot += value * grey[k]
            bx += value * jx[k]
            by += value * jy[k]
    size = np.float32(side * side)
    variance = square - total * total / size
    if variance < np.float32(MIN_VARIANCE) * size:
        return np.float32(0), np.float32(0), np.float32(0)
    norm = np.sqrt(variance)
    return min(dot / norm, np.float32(1)), bx / norm, by / norm


@compiled_for_workers
def _align_compiled(
    source: Float32Array,
    target: Float32Array,
    xy0: Float32Array,
    xy1: Float32Array,
    affine: Float32Array,
    radius: int,
    iterations: int,
    most: Number,
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The compiled loop of :func:`align_patches` over all points."""
    count = xy0.shape[0]
    size = (2 * radius + 1) ** 2
    place = xy1.copy()
    score = np.empty(count, np.float32)
    sigma = np.empty(count, np.float32)
    grey, jx, jy = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    for n in range(count):
        hxx, hxy, hyy = _template(source, xy0[n, 0], xy0[n, 1], radius, grey, jx, jy)
        if hxx <= 0:
            score[n], sigma[n] = 0, np.float32(1e3)
            continue
        determinant = max(hxx * hyy - hxy * hxy, np.float32(1e-12))
        warp = affine[n]
        x, y = xy1[n, 0], xy1[n, 1]
        ncc, bx, by = _correlate(target, x, y, warp, radius, grey, jx, jy)
        for _ in range(iterations):
            du, dv = (hyy * bx - hxy * by) / determinant, (hxx * by - hxy * bx) / determinant
            dx, dy = warp[0, 0] * du + warp[0, 1] * dv, warp[1, 0] * du + warp[1, 1] * dv
            length = np.sqrt(dx * dx + dy * dy)
            shorten = np.float32(1) / max(length, np.float32(1))
            x -= dx * shorten
            y -= dy * shorten
            if length < CONVERGED_PX:
                break
            ncc, bx, by = _correlate(target, x, y, warp, radius, grey, jx, jy)
        is_far = (x - xy1[n, 0]) ** 2 + (y - xy1[n, 1]) ** 2 > most * most
        if not is_far:
            place[n, 0], place[n, 1] = x, y
        smallest = (hxx + hyy) / 2 - np.sqrt(((hxx - hyy) / 2) ** 2 + hxy * hxy)
        # The squared difference of two unit-norm patches is 2 - 2 ncc, spread over the samples.
        sigma[n] = np.sqrt(max(2 - 2 * ncc, np.float32(0)) / size / max(smallest, np.float32(1e-9)))
        score[n] = np.float32(-1) if is_far else ncc
    return place, score, sigma
