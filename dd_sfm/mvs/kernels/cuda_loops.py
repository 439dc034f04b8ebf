"""The dense search on a GPU: one thread a pixel, each doing what the loops of a CPU do for it."""

from typing import Any

from numba import cuda, float32

from dd_sfm.mvs.kernels.depth_search import choose_pixel, refine_pixel
from dd_sfm.mvs.kernels.slanted_patches import ROOM
from dd_sfm.mvs.kernels.view_alignment import align_pixel

MOST_VIEWS = 32
"""Most views of a reference."""


@cuda.jit(fastmath=True)  # type: ignore[untyped-decorator]
def choose_kernel(
    cells: Any, width: Any, shown: Any, matrices: Any, shifts: Any, pixels: Any, hypotheses: Any, step: Any,
    offsets: Any, best: Any, score: Any,
) -> None:  # fmt: skip
    """See :func:`dd_sfm.mvs.kernels.depth_search.choose_pixel`."""
    n = cuda.grid(1)
    if n < pixels.shape[0]:
        patch, weights = cuda.local.array(ROOM, float32), cuda.local.array(ROOM, float32)
        found = cuda.local.array(MOST_VIEWS, float32)
        choose_pixel(
            n, cells, width, shown, matrices, shifts, pixels, hypotheses, step, offsets, patch, weights, found, best,
            score,
        )  # fmt: skip


@cuda.jit(fastmath=True)  # type: ignore[untyped-decorator]
def refine_kernel(
    cells: Any, width: Any, shown: Any, matrices: Any, shifts: Any, pixels: Any, planes: Any, step: Any,
    iterations: Any, most_px: Any, converged_px: Any, offsets: Any, inverse: Any, information: Any, correlation: Any,
) -> None:  # fmt: skip
    """See :func:`dd_sfm.mvs.kernels.depth_search.refine_pixel`."""
    n = cuda.grid(1)
    if n < pixels.shape[0]:
        patch, weights = cuda.local.array(ROOM, float32), cuda.local.array(ROOM, float32)
        refine_pixel(
            n, cells, width, shown, matrices, shifts, pixels, planes, step, iterations, most_px, converged_px, offsets,
            patch, weights, inverse, information, correlation,
        )  # fmt: skip


@cuda.jit(fastmath=True)  # type: ignore[untyped-decorator]
def align_kernel(
    cells: Any, width: Any, shown: Any, matrices: Any, shifts: Any, pixels: Any, planes: Any, asked: Any,
    step: Any, iterations: Any, most_px: Any, offsets: Any, place: Any, score: Any,
) -> None:  # fmt: skip
    """See :func:`dd_sfm.mvs.kernels.view_alignment.align_pixel`."""
    n = cuda.grid(1)
    if n < pixels.shape[0]:
        patch, weights = cuda.local.array(ROOM, float32), cuda.local.array(ROOM, float32)
        align_pixel(
            n, cells, width, shown, matrices, shifts, pixels, planes, asked, step, iterations, most_px, offsets,
            patch, weights, place, score,
        )  # fmt: skip
