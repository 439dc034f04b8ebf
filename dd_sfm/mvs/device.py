"""Where the dense search runs: on a GPU where numba can compile for it, else on the CPU."""

import logging

import torch

from dd_sfm.mvs.grey_images import slots_for
from dd_sfm.mvs.kernels.dense_search import LEAST_SLOTS, DenseSearch
from dd_sfm.structures import WorkingGrid

logger = logging.getLogger(__name__)

MOST_SLOTS = 400
"""Images held on a GPU: a reference far away in time is searched in others, so that room for all saves copies."""


def why_not_on_gpu() -> str:
    """Why the dense search cannot run on the GPU that torch finds; empty where it can."""
    # Loading numba's CUDA part takes a while, and is of no use without a GPU.
    from dd_sfm.mvs.kernels.cuda_search import cuda_problem

    return cuda_problem()


def dense_search_for(device: torch.device, grid: WorkingGrid, frames: int) -> DenseSearch:
    """The dense search for a number of frames of a working grid, on a device."""
    problem = why_not_on_gpu() if device.type == "cuda" else ""
    if problem:
        logger.warning("dense search: on the CPU, as numba cannot compile for the GPU (%s)", problem)
    if device.type != "cuda" or problem:
        return DenseSearch(slots_for(grid, frames), grid.height, grid.width)
    from dd_sfm.mvs.kernels.cuda_search import CudaSearch

    return CudaSearch(min(max(frames, LEAST_SLOTS), MOST_SLOTS), grid.height, grid.width)
