"""How long the compiled loops of a run take to compile: their first calls in a process with an empty cache."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dd_sfm.benchmark.feature_stages import Describing, match_tasks
from dd_sfm.benchmark.scene import make_scene, tracks_of
from dd_sfm.config import Config
from dd_sfm.errors import ReconstructionError
from dd_sfm.io.atomic import write_json
from dd_sfm.mvs.dense_points import dense_points
from dd_sfm.progress import silent
from dd_sfm.sfm.triangulation import triangulate

SIZE, POINTS = 160, 300
"""Of the scene that the loops are called on: small, so that the calls themselves take no time."""


def first_call_seconds() -> dict[str, float]:
    """Seconds that the first calls of the compiled loops take beyond the second ones, by what calls them.

    Raises:
        ReconstructionError: If the process that measures them fails.
    """
    with tempfile.TemporaryDirectory(prefix="dd-sfm-bench-") as name:
        folder = Path(name)
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        (folder / "cache").mkdir()
        ran = subprocess.run(
            [sys.executable, "-m", __name__, name],
            env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise ReconstructionError(f"bench: the process that compiles failed ({reason}); expected seconds from it")
        return dict(json.loads((folder / "seconds.json").read_text()))


def _seconds(folder: Path) -> dict[str, float]:
    """The same in this process."""
    calls = loop_calls(folder)
    return {name: round(max(0.0, _passed(work) - _passed(work)), 2) for name, work in calls.items()}


def loop_calls(folder: Path) -> dict[str, Callable[[], Any]]:
    """What calls the compiled loops of a run, on a small rendered scene, which is written into a folder."""
    config = Config()
    scene = make_scene(folder, size=SIZE, points=POINTS)
    describing = Describing(config, torch.device("cpu"), scene)
    model = scene.model

    def match() -> Any:
        return [task.work() for task in match_tasks(describing, (1,))]

    return {
        "match": match,
        "triangulate": lambda: triangulate(tracks_of(model), model.cam_from_world, model.camera, config),
        "dense search": lambda: dense_points(scene.views.images, model, config, silent),
    }


def _passed(work: Callable[[], Any]) -> float:
    """Seconds of the processor: compiling is done by one thread, whatever else the machine does."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main(folder: Path) -> None:
    """Write ``seconds.json`` into a folder."""
    write_json(folder / "seconds.json", _seconds(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
