"""The machine: which device, how many threads."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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


def cpu_has_bfloat16() -> bool:
    """True when this CPU multiplies bfloat16 in hardware; elsewhere bfloat16 is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is faster in bfloat16."""
    return device.type == "cuda" or cpu_has_bfloat16()


@contextmanager
def workers(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """A pool for independent tensor work: on a CPU one worker a core with one thread each, on a GPU one worker.

    Small operations gain nothing from more threads in one of them, and threads that wait for each other spin: on a
    machine that also does other work they are many times slower than one thread alone.
    """
    threads = torch.get_num_threads()
    count = 1 if device.type == "cuda" else threads
    try:
        torch.set_num_threads(max(1, threads // count))
        with ThreadPoolExecutor(count) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
