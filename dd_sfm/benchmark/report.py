"""The result of a benchmark as JSON and as lines of a table."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from dd_sfm import __version__
from dd_sfm.benchmark.measure import Measured
from dd_sfm.benchmark.stages import BenchmarkSettings
from dd_sfm.runtime import cpu_has_bfloat16

PACKAGES = ("torch", "numba", "numpy", "pycolmap")
SAMPLES = "Msamples/s"
"""The unit of rates that are also given as nanoseconds a sample and core."""
HEADER = ("", "on", "value", "unit", "share", "of", "")


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores this process may use, memory, GPU, versions."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16": cpu_has_bfloat16(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {
            "dd-sfm": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor, as far as the system tells."""
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def benchmark_json(found: Sequence[Measured], settings: BenchmarkSettings, threads: int) -> dict[str, Any]:
    """The result as ``dd-sfm bench -o`` writes it: machine, settings, and a row for every rate."""
    return {
        "machine": machine(),
        "settings": {"threads": threads, **asdict(settings)},
        "rows": [_row(m) for m in found],
    }


def ns_per_sample(found: Measured) -> float | None:
    """Nanoseconds a sample and core of the CPU; None for other units."""
    task = found.task
    return 1e3 * task.threads / found.value if task.unit == SAMPLES and task.device == "cpu" else None


def table(found: Sequence[Measured]) -> list[str]:
    """Aligned lines: what, on what, how much, and its share of which limit."""
    rows = [HEADER, *(_cells(m) for m in found)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADER))]
    right = {2, 4}
    lines = []
    for row in rows:
        cells = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(found: Measured) -> dict[str, Any]:
    task, limit = found.task, found.limit
    return {
        "part": task.part,
        "name": task.name,
        "device": task.device,
        "threads": task.threads if task.device == "cpu" else None,
        "value": _digits(found.value),
        "unit": task.unit,
        "rounds": [_digits(value) for value in found.rounds],
        "share_of_limit": None if found.share is None else round(found.share, 4),
        "limit": None if limit is None else limit.name,
        "shares": {task.name: round(share, 4) for task, share in found.shares},
        "ns_per_sample_and_core": _digits(ns_per_sample(found)),
        "note": task.note,
    }


def _cells(found: Measured) -> tuple[str, ...]:
    task = found.task
    on = "GPU" if task.device != "cpu" else "1 thread" if task.threads == 1 else f"{task.threads} threads"
    share = "" if found.share is None else f"{100 * found.share:.0f} %"
    per_sample = ns_per_sample(found)
    notes = [f"{per_sample:.2f} ns a sample and core"] if per_sample is not None else []
    notes += [task.note] if task.note else []
    value = f"{found.value:,.0f}" if found.value >= 1000 else f"{found.value:.3g}"
    return (task.name, on, value, task.unit, share, found.limit.name if found.limit else "", "; ".join(notes))


def _digits(value: float | None) -> float | None:
    """Five digits are more than the measurement has."""
    return None if value is None else float(f"{value:.5g}")
