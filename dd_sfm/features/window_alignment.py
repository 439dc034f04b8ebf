"""Sub-cell matches by aligning windows of descriptors: a window localises better than a single descriptor."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.features.matching import paraboloid
from dd_sfm.ops.compiled import BoolArray, Float32Array, Index, Number, compiled_for_workers, compiled_part

RADIUS = 8
"""Half the side of a window in cells."""
SPACING = 2
"""Cells between the descriptors of a window that are compared."""
SIGMA = 6.0
"""Their weights fall off as a Gaussian of so many cells."""
ITERATIONS = 3
"""Gauss-Newton steps; each moves the window and deforms it affinely."""
STIFFNESS = 100.0
"""Damping of the affine deformation, in squared cells: windows of weak texture move without deforming."""
MAX_WINDOW_STEP = 1.5
"""Largest move of a window in one step, in cells along each axis."""
MAX_DESCRIPTOR_STEP = 3.0
"""Largest step of a single descriptor that is counted, in cells along each axis; longer ones are clipped."""
MAX_AFFINE_STEP = 0.2
"""Largest change of an entry of the affine map in one step."""


def window_map(descriptors: Tensor) -> NDArray[np.float32]:
    """A map (D, H, W) as :func:`align_windows` reads it: (H, W, D) float32, contiguous."""
    return np.ascontiguousarray(descriptors.float().permute(1, 2, 0).cpu().numpy())


def align_windows(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    usable0: NDArray[np.bool_],
    usable1: NDArray[np.bool_],
    cell0: NDArray[Any],
    cell1: NDArray[Any],
) -> NDArray[np.float32]:
    """Refine matches so that the descriptors around each point agree with those around its match.

    Gauss-Newton on the sum of cosine similarities over a window that moves and deforms affinely: around every
    descriptor's expected place the response is a paraboloid (:func:`dd_sfm.features.matching.subcell_peak`), whose
    gradient gives this descriptor's Gauss-Newton step; all of them share the mean curvature of the window.

    Args:
        source: Unit-norm descriptors (H, W, D) of the view that the points are in, see :func:`window_map`.
        target: The same of the other view (H', W', D).
        usable0: Usable cells (H, W) of the source; others are left out.
        usable1: The same of the target (H', W').
        cell0: Points (N, 2), (column, row), in cells of the source.
        cell1: Initial matches (N, 2), (column, row), in cells of the target.

    Returns:
        Refined matches (N, 2) float32 in cells of the target. Where the similarity of a window has no peak the
        iteration ends, and the match is the one reached so far: the initial one if that is at the first step.
    """
    steps = np.arange(-RADIUS, RADIUS + 1, SPACING)
    offset = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2).astype(np.float32)
    weight = np.exp(-np.square(offset).sum(1) / (2 * SIGMA**2)).astype(np.float32)
    solve = np.ascontiguousarray(paraboloid(torch.device("cpu"))[2].numpy())
    points, guesses = (np.ascontiguousarray(a, np.float32) for a in (cell0, cell1))
    return np.asarray(
        _align_compiled(source, target, usable0, usable1, points, guesses, offset, weight, solve, ITERATIONS)
    )


@compiled_part
def _sample_descriptor(image: Float32Array, usable: BoolArray, x: Number, y: Number, out: Float32Array) -> bool:
    """Interpolate the unit-norm descriptor at (x, y) into ``out``; return whether its cell is usable."""
    height, width, size = image.shape
    if x < np.float32(-0.5) or y < np.float32(-0.5) or x > width - np.float32(0.5) or y > height - np.float32(0.5):
        return False
    if not usable[min(np.int32(y + np.float32(0.5)), height - 1), min(np.int32(x + np.float32(0.5)), width - 1)]:
        return False
    x = min(max(x, np.float32(0)), np.float32(width) - np.float32(1.001))
    y = min(max(y, np.float32(0)), np.float32(height) - np.float32(1.001))
    column, row = np.int32(x), np.int32(y)
    fx, fy = x - np.float32(column), y - np.float32(row)
    one = np.float32(1)
    a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    norm = np.float32(1e-12)
    for k in range(size):
        value = (
            a * image[row, column, k]
            + b * image[row, column + 1, k]
            + c * image[row + 1, column, k]
            + d * image[row + 1, column + 1, k]
        )
        out[k] = value
        norm += value * value
    scale = one / np.sqrt(norm)
    for k in range(size):
        out[k] *= scale
    return True


@compiled_part
def _fit_response(
    target: Float32Array, query: Float32Array, column: Index, row: Index, solve: Float32Array, fit: Float32Array
) -> None:
    """Fit a paraboloid to a descriptor's response at 5 x 5 cells: gx, gy, xx, xy, yy into ``fit``."""
    size = query.shape[0]
    for k in range(5):
        fit[k] = np.float32(0)
    for i in range(5):
        for j in range(5):
            cell = target[row + i - 2, column + j - 2]
            dot = np.float32(0)
            for k in range(size):
                dot += cell[k] * query[k]
            for k in range(5):
                fit[k] += dot * solve[i * 5 + j, k]


@compiled_part
def _descriptor_gradients(
    target: Float32Array,
    usable: BoolArray,
    queries: Float32Array,
    valid: BoolArray,
    offset: Float32Array,
    weight: Float32Array,
    solve: Float32Array,
    window: Float32Array,
    gradient: Float32Array,
    active_weight: Float32Array,
) -> tuple[Any, Any, Any, Any]:
    """Compute the gradient of every descriptor's similarity at its place in a window, and its weight.

    ``window`` holds x, y and the four entries of its affine map. Returns the sum of the weights and the
    window's curvature: xx, xy, yy.
    """
    height, width = usable.shape
    fit = np.empty(5, np.float32)
    half, two = np.float32(0.5), np.float32(2)
    total, hxx, hxy, hyy = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for k in range(offset.shape[0]):
        active_weight[k] = np.float32(0)
        if not valid[k]:
            continue
        x = window[0] + window[2] * offset[k, 0] + window[3] * offset[k, 1]
        y = window[1] + window[4] * offset[k, 0] + window[5] * offset[k, 1]
        column, row = np.int32(np.floor(x + half)), np.int32(np.floor(y + half))
        # The fit looks two cells to all sides.
        if column < 2 or row < 2 or column > width - 3 or row > height - 3 or not usable[row, column]:
            continue
        _fit_response(target, queries[k], column, row, solve, fit)
        fx, fy = x - np.float32(column), y - np.float32(row)
        gradient[k, 0] = fit[0] + two * fit[2] * fx + fit[3] * fy
        gradient[k, 1] = fit[1] + fit[3] * fx + two * fit[4] * fy
        active_weight[k] = weight[k]
        total += weight[k]
        hxx += weight[k] * two * fit[2]
        hxy += weight[k] * fit[3]
        hyy += weight[k] * two * fit[4]
    return total, hxx, hxy, hyy


@compiled_part
def _update_window(
    window: Float32Array,
    gradient: Float32Array,
    active_weight: Float32Array,
    offset: Float32Array,
    total: Number,
    hxx: Number,
    hxy: Number,
    hyy: Number,
) -> None:
    """Update a window by the weighted mean of its descriptors' steps, and deform it by how these vary across it."""
    zero, stiff = np.float32(0), np.float32(STIFFNESS)
    most, far, bend = np.float32(MAX_DESCRIPTOR_STEP), np.float32(MAX_WINDOW_STEP), np.float32(MAX_AFFINE_STEP)
    scale = -total / (hxx * hyy - hxy * hxy)
    mx, my, cx, cy = zero, zero, zero, zero
    for k in range(offset.shape[0]):
        gx, gy = gradient[k, 0] * scale, gradient[k, 1] * scale
        gradient[k, 0] = min(max(hyy * gx - hxy * gy, -most), most)
        gradient[k, 1] = min(max(hxx * gy - hxy * gx, -most), most)
        mx += active_weight[k] * gradient[k, 0]
        my += active_weight[k] * gradient[k, 1]
        cx += active_weight[k] * offset[k, 0]
        cy += active_weight[k] * offset[k, 1]
    mx, my, cx, cy = mx / total, my / total, cx / total, cy / total
    sxx, sxy, syy = stiff, zero, stiff
    uxx, uxy, uyx, uyy = zero, zero, zero, zero
    for k in range(offset.shape[0]):
        ox, oy = active_weight[k] * (offset[k, 0] - cx), active_weight[k] * (offset[k, 1] - cy)
        sxx += ox * (offset[k, 0] - cx)
        sxy += ox * (offset[k, 1] - cy)
        syy += oy * (offset[k, 1] - cy)
        uxx += (gradient[k, 0] - mx) * ox
        uxy += (gradient[k, 0] - mx) * oy
        uyx += (gradient[k, 1] - my) * ox
        uyy += (gradient[k, 1] - my) * oy
    spread = sxx * syy - sxy * sxy
    bxx = min(max((uxx * syy - uxy * sxy) / spread, -bend), bend)
    bxy = min(max((uxy * sxx - uxx * sxy) / spread, -bend), bend)
    byx = min(max((uyx * syy - uyy * sxy) / spread, -bend), bend)
    byy = min(max((uyy * sxx - uyx * sxy) / spread, -bend), bend)
    # Where descriptors are missing, their weighted centre is not the point itself.
    window[0] += min(max(mx - bxx * cx - bxy * cy, -far), far)
    window[1] += min(max(my - byx * cx - byy * cy, -far), far)
    window[2] += bxx
    window[3] += bxy
    window[4] += byx
    window[5] += byy


@compiled_for_workers
def _align_compiled(
    source: Float32Array,
    target: Float32Array,
    usable0: BoolArray,
    usable1: BoolArray,
    cell0: Float32Array,
    cell1: Float32Array,
    offset: Float32Array,
    weight: Float32Array,
    solve: Float32Array,
    iterations: int,
) -> Float32Array:
    """The compiled loop of :func:`align_windows` over all points."""
    size, count = source.shape[2], offset.shape[0]
    place = cell1.copy()
    queries, valid = np.empty((count, size), np.float32), np.empty(count, np.bool_)
    gradient, active_weight = np.zeros((count, 2), np.float32), np.empty(count, np.float32)
    window = np.empty(6, np.float32)
    for n in range(cell0.shape[0]):
        for k in range(count):
            x, y = cell0[n, 0] + offset[k, 0], cell0[n, 1] + offset[k, 1]
            valid[k] = _sample_descriptor(source, usable0, x, y, queries[k])
        window[:2] = cell1[n]
        window[2], window[3], window[4], window[5] = 1, 0, 0, 1
        for _ in range(iterations):
            total, hxx, hxy, hyy = _descriptor_gradients(
                target, usable1, queries, valid, offset, weight, solve, window, gradient, active_weight
            )
            if hxx >= 0 or hxx * hyy - hxy * hxy <= np.float32(1e-9) * total * total:
                break
            _update_window(window, gradient, active_weight, offset, total, hxx, hxy, hyy)
        place[n] = window[:2]
    return place
