"""The dense search on a CPU: loops over pixels, shared by its cores (:func:`dd_sfm.ops.compiled.over_cores`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.mvs.kernels.depth_search import choose_pixel, refine_pixel
from dd_sfm.mvs.kernels.slanted_patches import ROOM
from dd_sfm.mvs.kernels.view_alignment import align_pixel
from dd_sfm.ops.compiled import Float32Array, Int64Array, Number, compiled_for_workers


@compiled_for_workers
def choose_loop(
    first: Any,
    last: Any,
    cells: Int64Array,
    width: Any,
    shown: NDArray[np.int32],
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    hypotheses: Float32Array,
    step: Number,
    offsets: Float32Array,
    best: NDArray[np.int32],
    score: Float32Array,
) -> None:
    """See :func:`dd_sfm.mvs.kernels.depth_search.choose_pixel`."""
    patch, weights = np.empty(ROOM, np.float32), np.empty(ROOM, np.float32)
    found = np.empty(matrices.shape[0], np.float32)
    for n in range(first, last):
        choose_pixel(
            n, cells, width, shown, matrices, shifts, pixels, hypotheses, step, offsets, patch, weights, found, best,
            score,
        )  # fmt: skip


@compiled_for_workers
def refine_loop(
    first: Any,
    last: Any,
    cells: Int64Array,
    width: Any,
    shown: NDArray[np.int32],
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    planes: Float32Array,
    step: Number,
    iterations: Any,
    most_px: Number,
    converged_px: Number,
    offsets: Float32Array,
    inverse: Float32Array,
    information: Float32Array,
    correlation: Float32Array,
) -> None:
    """See :func:`dd_sfm.mvs.kernels.depth_search.refine_pixel`."""
    patch, weights = np.empty(ROOM, np.float32), np.empty(ROOM, np.float32)
    for n in range(first, last):
        refine_pixel(
            n, cells, width, shown, matrices, shifts, pixels, planes, step, iterations, most_px, converged_px, offsets,
            patch, weights, inverse, information, correlation,
        )  # fmt: skip


@compiled_for_workers
def align_loop(
    first: Any,
    last: Any,
    cells: Int64Array,
    width: Any,
    shown: NDArray[np.int32],
    matrices: Float32Array,
    shifts: Float32Array,
    pixels: Float32Array,
    planes: Float32Array,
    asked: NDArray[np.bool_],
    step: Number,
    iterations: Any,
    most_px: Number,
    offsets: Float32Array,
    place: Float32Array,
    score: Float32Array,
) -> None:
    """See :func:`dd_sfm.mvs.kernels.view_alignment.align_pixel`."""
    patch, weights = np.empty(ROOM, np.float32), np.empty(ROOM, np.float32)
    for n in range(first, last):
        align_pixel(
            n, cells, width, shown, matrices, shifts, pixels, planes, asked, step, iterations, most_px, offsets,
            patch, weights, place, score,
        )  # fmt: skip
