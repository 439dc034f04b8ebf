"""A benchmark: the limits of the machine, and what the stages of a run make of them."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch

from dd_sfm.benchmark.dense_stages import adjust_tasks, dense_tasks
from dd_sfm.benchmark.feature_stages import Describing, describe_tasks, match_tasks, patch_tasks
from dd_sfm.benchmark.first_calls import first_call_seconds
from dd_sfm.benchmark.limits import disk_tasks, gather_tasks, matrix_tasks
from dd_sfm.benchmark.measure import Measured, Task, measure
from dd_sfm.benchmark.scene import make_scene
from dd_sfm.config import Config
from dd_sfm.progress import Progress
from dd_sfm.synthetic.render import Renderer
from dd_sfm.synthetic.render import make_scene as make_rendered_scene
from dd_sfm.synthetic.settings import preset

LIMITS = ("matrix", "gather", "disk")
STAGES = ("describe", "match", "align", "depth", "planes", "adjust", "render", "compile")
PARTS = (*LIMITS, *STAGES)
"""What can be measured."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """How long and on how much is measured."""

    rounds: int = 5
    """Turns of every task."""
    seconds: float = 0.15
    """Least length of a turn."""
    size: int = 500
    """Side of the frames in working pixels: 500 is that of a run."""
    points: int = 2000
    """Points of the model that is adjusted."""
    patches: int = 4000
    """Patches that are aligned for the matching of two frames."""
    matrix_side: int = 1024
    gpu_matrix_side: int = 8192
    gather_patches: int = 20_000
    megabytes: int = 64
    """Size of the file that is written and read."""


QUICK = BenchmarkSettings(rounds=3, seconds=0.05, megabytes=16)
"""For a first look: shorter turns of the same work."""


def run_benchmark(
    config: Config,
    devices: tuple[torch.device, ...],
    settings: BenchmarkSettings,
    *,
    threads: int,
    disk: Path | None,
    parts: Collection[str],
    progress: Progress,
) -> list[Measured]:
    """Measure limits and stages.

    Args:
        config: The configuration of a run: weights, matching.
        devices: Where is measured; what has no version for a GPU is measured on the CPU alone.
        settings: How long and on how much.
        threads: CPU threads; what can use more than one is measured with one and with all.
        disk: A folder on the disk to measure; None for that of temporary files.
        parts: Of ``PARTS``; limits that they are set against are measured, too.
        progress: Shows the turns.
    """
    counts = (1, threads) if threads > 1 else (1,)
    with (
        tempfile.TemporaryDirectory(prefix="dd-sfm-bench-") as name,
        tempfile.TemporaryDirectory(prefix="dd-sfm-bench-", dir=disk) as measured_folder,
    ):
        tasks: list[Task] = []
        for device in devices:
            tasks += _limits(device, counts, settings, Path(measured_folder))
        tasks += _stages(config, devices, settings, counts, Path(name), parts)
        needed = {task.bound_by for task in tasks if task.part in parts} - {""}
        chosen = [task for task in tasks if task.part in parts or task.bound in needed]
        found = measure(chosen, rounds=settings.rounds, seconds=settings.seconds, progress=progress)
    return [*found, *([_compiled()] if "compile" in parts and _has_cpu(devices) else [])]


def _has_cpu(devices: tuple[torch.device, ...]) -> bool:
    return any(device.type == "cpu" for device in devices)


def _limits(device: torch.device, counts: tuple[int, ...], settings: BenchmarkSettings, disk: Path) -> list[Task]:
    if device.type == "cuda":
        return [*matrix_tasks(device, (1,), settings.gpu_matrix_side), *gather_tasks(device, (1,), 0)]
    return [
        *matrix_tasks(device, counts, settings.matrix_side),
        *gather_tasks(device, counts, settings.gather_patches),
        *disk_tasks(disk, settings.megabytes),
    ]


def _stages(
    config: Config,
    devices: tuple[torch.device, ...],
    settings: BenchmarkSettings,
    counts: tuple[int, ...],
    folder: Path,
    parts: Collection[str],
) -> list[Task]:
    """Tasks of the stages asked for: making them takes a call of each."""
    if not set(parts) & set(STAGES) - {"compile"}:
        return []
    scene = make_scene(folder, size=settings.size, points=settings.points)
    tasks: list[Task] = []
    for device in devices:
        threads = counts if device.type == "cpu" else (1,)
        if {"describe", "match"} & set(parts):
            describing = Describing(config, device, scene)
            tasks += describe_tasks(describing, threads) if "describe" in parts else []
            tasks += match_tasks(describing, threads) if "match" in parts else []
    if _has_cpu(devices):
        tasks += patch_tasks(scene, config, counts, settings.patches) if "align" in parts else []
        tasks += dense_tasks(scene, counts) if {"align", "depth", "planes"} & set(parts) else []
        tasks += adjust_tasks(scene, counts[-1]) if "adjust" in parts else []
        tasks += _render_tasks() if "render" in parts else []
    return tasks


def _render_tasks() -> list[Task]:
    """A frame of a rendered clip, by one thread."""
    renderer = Renderer(make_rendered_scene(replace(preset("colon", "real"), width=640, height=360, frames=5)))

    def render() -> None:
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            renderer.render(2)
        finally:
            cv2.setNumThreads(before)

    return [Task("render", "rendering a clip", "frames/s", 1, render, note="640 x 360")]


def _compiled() -> Measured:
    """Seconds of the first calls of compiled loops: once, as a second time they come from the cache."""
    seconds = first_call_seconds()
    total = sum(seconds.values())
    note = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    task = Task("compile", "compiling, empty cache", "s", 1, lambda: None, note=note)
    return Measured(task, total, (total,))
