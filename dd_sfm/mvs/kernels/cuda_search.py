"""The dense search on a GPU."""

import logging
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from dd_sfm.errors import DeviceError, ShapeError
from dd_sfm.mvs.kernels.cpu_loops import align_loop, choose_loop, refine_loop
from dd_sfm.mvs.kernels.cuda_loops import MOST_VIEWS, align_kernel, choose_kernel, refine_kernel
from dd_sfm.mvs.kernels.dense_search import LEAST_SLOTS, DenseSearch
from dd_sfm.ops.compiled import Int64Array

logger = logging.getLogger(__name__)

THREADS = 64
"""Threads of a block: few, as each holds two patches."""
KERNELS = {choose_loop: choose_kernel, refine_loop: refine_kernel, align_loop: align_kernel}
"""The kernel that does on a GPU what a loop does on the CPU."""


def cuda_problem() -> str:
    """Why numba cannot compile for a GPU here; empty where it can."""
    if cuda.is_available():
        return ""
    error = cuda.cuda_error()
    return str(error).strip().splitlines()[0] if error else "numba finds no CUDA driver or compiler"


class CudaSearch(DenseSearch):
    """The dense search on a GPU; images stay in its memory, the rest is copied for every search.

    Args:
        slots: Images held at once.
        height: Their rows.
        width: Their columns.
    """

    on_gpu = True

    def _make_slots(self) -> Any:
        while True:
            try:
                return cuda.device_array((self.slots, self.height * self.width), np.int64)
            except (MemoryError, cuda.cudadrv.driver.CudaAPIError) as error:
                if self.slots <= LEAST_SLOTS:
                    raise DeviceError(
                        f"GPU: no room for {self.slots} images of {self.width} x {self.height} pixels ({error}); "
                        "expected some free memory. Use --device cpu"
                    ) from error
                self.slots = max(LEAST_SLOTS, self.slots // 2)
                logger.warning("dense search: the GPU is short of memory; %d images are held at once", self.slots)

    def load(self, slot: int, cells: Int64Array) -> None:
        """Put the packed pixels (H, W) of an image into a slot."""
        self._cells[slot].copy_to_device(np.ascontiguousarray(cells.ravel()))

    def _run(self, loop: Any, count: int, arguments: tuple[Any, ...], results: tuple[NDArray[Any], ...]) -> None:
        _, matrices, *_ = arguments
        if len(matrices) > MOST_VIEWS:
            raise ShapeError(f"{len(matrices)} views of a reference; expected at most {MOST_VIEWS} on a GPU")
        if not count:
            return
        copied = [cuda.to_device(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in arguments]
        found = [cuda.device_array(r.shape, r.dtype) for r in results]
        KERNELS[loop][-(-count // THREADS), THREADS](self._cells, np.int32(self.width), *copied, *found)
        for result, array in zip(results, found, strict=True):
            array.copy_to_host(result)
