"""The machine: which device, how many threads."""

import os

import torch

from dd_sfm.config import RuntimeConfig
from dd_sfm.errors import DeviceError


def resolve_device(runtime: RuntimeConfig) -> torch.device:
    """The device to work on.

    Raises:
        DeviceError: If CUDA is asked for and there is no CUDA device.
    """
    if runtime.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if runtime.device == "cuda":
        raise DeviceError("--device cuda: no CUDA device found by torch; expected one. Use --device auto or cpu")
    return torch.device("cpu")


def cpu_threads(runtime: RuntimeConfig) -> int:
    """Threads to use: the configured number, or as many as this process may run on."""
    return runtime.threads or len(os.sched_getaffinity(0))
