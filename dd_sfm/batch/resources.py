"""How many videos are worked on at once, and what each may use."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

MEMORY_GB = {"preview": 2.0, "standard": 3.0, "extreme": 4.0}
"""What a video of some hundred frames of 1080p takes by its quality, with room to spare (docs/batch.md)."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
KEPT_FREE_GB = 0.5


@dataclass(frozen=True)
class Need:
    """What a video takes: CPU threads, gigabytes of memory, and GPUs (a part where several share one)."""

    cores: int
    memory_gb: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Machine:
    """What this machine has for a batch."""

    cores: int
    memory_gb: float
    gpus: int


def this_machine() -> Machine:
    """Cores that this process may use, memory that is free, also by the limit of a container, and GPUs."""
    free = psutil.virtual_memory().available / 1e9
    return Machine(len(os.sched_getaffinity(0)), min(free, _container_gb()), _gpus())


def _container_gb() -> float:
    for path in CGROUP_LIMITS:
        try:
            return int(path.read_text()) / 1e9
        except (OSError, ValueError):
            continue
    return float("inf")


def _gpus() -> int:
    """The GPUs that torch can use; it is only asked, which takes seconds, where the system has any."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def share_out(
    machine: Machine,
    videos: int,
    *,
    memory_gb: float,
    workers: int | None = None,
    cores: int | None = None,
    gpus: float | None = None,
) -> tuple[int, Need]:
    """How many videos a machine works on at once, and what each gets; what is None is chosen.

    As many as cores and memory allow, as one core a video is the best use of it; cores that are left over go to all.

    Args:
        machine: What there is.
        videos: Number of videos to do.
        memory_gb: Memory that a video takes.
        workers: Videos at once.
        cores: Threads for a video.
        gpus: GPUs for a video, 0 for none; None: one where there are any.
    """
    gpus = float(machine.gpus > 0) if gpus is None else gpus
    most = min(videos, machine.cores // (cores or 1), int((machine.memory_gb - KEPT_FREE_GB) / memory_gb))
    if gpus:
        most = min(most, int(machine.gpus / gpus + 1e-9))
    most = max(1, most) if workers is None else min(workers, max(1, videos))
    if cores is None:
        cores = max(1, machine.cores // most)
        fewer = machine.cores // (cores + 1)
        if workers is None and fewer * (cores + 1) > most * cores:
            # Rather fewer videos than cores without work.
            most, cores = fewer, cores + 1
    return most, Need(cores, memory_gb, gpus)


def places(threads: int, memory_bytes: float, gpus: float, need: Need) -> int:
    """How many videos a worker of a cluster takes at once; 0 where it lacks the memory or GPU for one.

    Args:
        threads: Of the worker.
        memory_bytes: Its limit; 0 for none.
        gpus: Those that it was started with.
        need: What a video takes.
    """
    found = max(1, threads // need.cores)
    if memory_bytes:
        found = min(found, int(memory_bytes / 1e9 / need.memory_gb + 0.05))
    return min(found, int(gpus / need.gpus + 1e-9)) if need.gpus else found
