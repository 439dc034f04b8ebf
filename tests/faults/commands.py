"""The commands that faults are tried on, with tiny inputs, and what of their results is compared."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "demo_videos" / "sinus"
TINY = ("--set", "describe.working_height_px=200", "--device", "cpu")
FRAMES = ("--calibration", str(CLIP / "calibration.txt"), "--quality", "preview", "--end", "30", "--every", "3")
MOST_S = 900
NEAR = 0.005
"""Relative difference of results that counts as none: of points, for what threads do in another order."""


@dataclass(frozen=True)
class Command:
    """A command of dd-sfm.

    ``words``: what it is called with, given the folder for its inputs and its output; ``result``: what of its output is
    compared: numbers that may differ by ``NEAR``, and anything else that must be equal; ``prepare``: makes the inputs;
    ``parts``: commands that do a first part of the same work.
    """

    words: Callable[[Path, Path], Sequence[str]]
    result: Callable[[Path], Mapping[str, Any]]
    prepare: Callable[[Path], None] = lambda inputs: None
    parts: tuple[str, ...] = ()

    def line(self, inputs: Path, out: Path, part: str = "") -> list[str]:
        """The command line; of a part of the work, if one is named."""
        first, *others = map(str, self.words(inputs, out))
        return [sys.executable, "-m", "dd_sfm", part or first, *others]


def run_result(out: Path) -> dict[str, Any]:
    """Points of a finished run, and the numbers of its registered frames."""
    import dd_sfm

    run = dd_sfm.open_run(out)
    return {"points": len(run.points), "frames": sorted(run.poses)}


def _compared(out: Path) -> dict[str, Any]:
    content = json.loads((out / "compare.json").read_text())
    runs = {name: run_result(out / name) for name in ("learned", "sift")}
    return {"verdict": sorted(content), **{f"{n} {k}": v for n, run in runs.items() for k, v in run.items()}}


def _batch(out: Path) -> dict[str, Any]:
    content = json.loads((out / "batch.json").read_text())
    states = {video["name"]: video["status"] for video in content["videos"]}
    runs = {name: run_result(out / name) for name in states}
    return {"states": states, **{f"{n} {k}": v for n, run in runs.items() for k, v in run.items()}}


def _rendered(out: Path) -> dict[str, Any]:
    with np.load(out / "truth.npz") as truth:
        poses = np.round(truth["c"], 6).tolist()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.name != ".dd-sfm.lock")
    return {"poses": poses, "files": files, "bytes": (out / "clip.mp4").stat().st_size}


def _trained(out: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    weights = load_file(out / "last.safetensors") if (out / "last.safetensors").is_file() else {}
    shapes = {name: list(array.shape) for name, array in weights.items()}
    return {"steps": sorted({entry["step"] for entry in log if "step" in entry})[-1:], "weights": shapes}


def _calibrated(out: Path) -> dict[str, Any]:
    return {"text": out.read_text()}


def _make_board(inputs: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import boards

    boards.write_board_video(inputs / "board.mp4")


def _make_manifest(inputs: Path) -> None:
    options = "{end: 30, every: 3, quality: preview, device: cpu, set: describe.working_height_px=200}"
    video = f"source: {CLIP / 'clip.mp4'}, calibration: {CLIP / 'calibration.txt'}, options: {options}"
    lines = [f"  - {{name: {name}, {video}}}" for name in ("one", "two")]
    (inputs / "manifest.yaml").write_text("videos:\n" + "\n".join(lines) + "\n")


COMMANDS = {
    "reconstruct": Command(
        lambda inputs, out: ["reconstruct", CLIP / "clip.mp4", "-o", out, *FRAMES, *TINY],
        run_result,
        parts=("extract", "match", "map"),
    ),
    "compare": Command(lambda inputs, out: ["compare", CLIP / "clip.mp4", "-o", out, *FRAMES, *TINY], _compared),
    "batch": Command(lambda inputs, out: ["batch", inputs / "manifest.yaml", "-o", out], _batch, _make_manifest),
    "synth": Command(
        lambda inputs, out: ["synth", "-o", out, "--frames", "6", "--width", "160", "--height", "120"], _rendered
    ),
    "train": Command(
        lambda inputs, out: ["train", CLIP, "-o", out, "--steps", "12"],
        _trained,
    ),
    "calibrate": Command(
        lambda inputs, out: ["calibrate", inputs / "board.mp4", "-o", out / "scope.yaml", "--board", "9x6"],
        _calibrated,
        _make_board,
    ),
}


def run_whole(line: Sequence[str], **named: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(line, capture_output=True, text=True, timeout=MOST_S, cwd=ROOT, check=False, **named)


def kill_after(line: Sequence[str], seconds: float) -> bool:
    """Start a command and kill it with its children; False when it had ended before."""
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
    ) as process:
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What of a result is not as in an undisturbed one."""
    wrong = []
    for name, value in expected.items():
        near = isinstance(value, int) and abs(found[name] - value) <= max(1.0, NEAR * abs(value))
        if found.get(name) != value and not near:
            wrong.append(f"{name}: {found.get(name)}; expected {value}")
    return wrong


def refusal(ended: subprocess.CompletedProcess[str], *says: str) -> list[str]:
    """What is wrong with how a command ended that a fault has stopped: expected is one line of its own and code 1."""
    text = ended.stdout + ended.stderr
    own = [line for line in ended.stderr.splitlines() if line.startswith("dd-sfm: ")]
    wrong = []
    if "Traceback" in text:
        wrong.append(f"a traceback: {text[-800:]}")
    if ended.returncode != 1:
        wrong.append(f"exit code {ended.returncode}: {text[-500:]}")
    elif len(own) != 1 or "unexpected" in own[0]:
        wrong.append(f"lines of its own: {own or text[-500:]}")
    elif says and not any(word.lower() in own[0].lower() for word in says):
        wrong.append(f"says {own[0]!r}; expected {' or '.join(says)}")
    return wrong
