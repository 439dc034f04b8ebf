"""The commands that faults are tried on, with tiny inputs, and what of their results is compared."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from dd_sfm.errors import InputError
from dd_sfm.io.images import write_image
from dd_sfm.io.lock import LOCK

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "demo_videos" / "sinus"
SINUS = "sinus"
"""The clip in the folder of inputs."""
TINY = ("--set", "describe.working_height_px=200", "--device", "cpu")
FRAMES = ("--quality", "preview", "--end", "30", "--every", "3")
MOST_S = 900
TIMED_OUT = 124
"""The code of exit of what was ended after ``MOST_S`` seconds."""
POLL_S = 0.02
BLOCK = 4096
"""Bytes that a file system hands out at once."""
NEAR = 0.005
"""Relative difference of results that counts as none: of points, for what threads do in another order."""


@dataclass(frozen=True)
class Command:
    """A command of dd-sfm.

    ``words``: what it is called with, given the folder for its inputs and its output; ``result``: what of its output is
    compared: numbers that may differ by ``NEAR``, and anything else that must be equal; ``prepare``: makes the inputs;
    ``parts``: commands that do a first part of the same work; ``makes_folder``: whether it makes its output's folder;
    ``repeats``: whether it may be repeated once it has ended; ``locks``: whether it holds its output's folder;
    ``checked``: patterns of the files of its output that a repeated command checks.
    """

    words: Callable[[Path, Path], Sequence[str]]
    result: Callable[[Path], Mapping[str, Any]]
    prepare: Callable[[Path], None] = lambda inputs: None
    parts: tuple[str, ...] = ()
    makes_folder: bool = True
    repeats: bool = True
    locks: bool = True
    checked: tuple[str, ...] = ()

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
    content = json.loads((out / "report.json").read_text())
    runs = {name: run_result(out / name) for name in ("learned", "sift", "sift_default")}
    files = sorted(path.name for path in (out / "figures").iterdir())
    return {
        "report": sorted(content),
        "figures": files,
        **{f"{n} {k}": v for n, run in runs.items() for k, v in run.items()},
    }


def _batch(out: Path) -> dict[str, Any]:
    content = json.loads((out / "batch.json").read_text())
    # A repeated batch calls skipped what it has found done.
    states = {video["name"]: video["status"].replace("skipped", "done") for video in content["videos"]}
    runs = {name: run_result(out / name) for name in states}
    return {"states": states, **{f"{n} {k}": v for n, run in runs.items() for k, v in run.items()}}


def _rendered(out: Path) -> dict[str, Any]:
    with np.load(out / "truth.npz") as truth:
        poses = np.round(truth["c"], 6).tolist()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.name != ".dd-sfm.lock")
    return {"poses": poses, "files": files, "bytes": (out / "clip.mp4").stat().st_size}


def _trained(out: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    records = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    steps = [(record["step"], record.get("finished", False)) for record in records]
    names = ("weights.safetensors", "last.safetensors")
    norms = {n: float(sum(np.abs(array).sum() for array in load_file(out / n).values())) for n in names}
    return {"steps": steps, **norms}


def _converted(out: Path) -> dict[str, Any]:
    inside = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: zlib.crc32(path.read_bytes()) for name, path in sorted(inside.items()) if name != "convert.json"}


def _calibrated(out: Path) -> dict[str, Any]:
    return {"text": (out / "scope.yaml").read_text(), "files": sorted(path.name for path in out.iterdir())}


def _localized(out: Path) -> dict[str, Any]:
    frames = json.loads((out / "metrics.json").read_text())["localized"]["frames"]
    return {"frames": sorted(frames), "poses": len((out / "trajectory.csv").read_text().splitlines())}


def _registered(out: Path) -> dict[str, Any]:
    content = json.loads((out / "registration.json").read_text())
    return {"residual": content["residual_median"], "files": sorted(path.name for path in out.iterdir())}


def _copy_clip(inputs: Path) -> None:
    shutil.copytree(CLIP, inputs / SINUS)


def _source(inputs: Path) -> list[str]:
    """Arguments for the clip: the video and its calibration."""
    return [str(inputs / SINUS / "clip.mp4"), "--calibration", str(inputs / SINUS / "calibration.txt")]


def _make_run(inputs: Path) -> None:
    from converting import write_small_run

    write_small_run(inputs / "run")


def _reconstruct(inputs: Path, name: str, *options: str) -> None:
    """A run of a part of the clip."""
    line = ["reconstruct", *_source(inputs), "-o", inputs / name, "--device", "cpu", *options]
    ended = run_whole([sys.executable, "-m", "dd_sfm", *map(str, line)])
    assert ended.returncode == 0, ended.stderr


def _make_finished(inputs: Path) -> None:
    _copy_clip(inputs)
    _reconstruct(inputs, "run", *FRAMES, *TINY[:2])


def _make_two(inputs: Path) -> None:
    _copy_clip(inputs)
    # At the usual preview quality: of smaller frames too few matches tell how two runs lie to each other.
    for name, start, end in (("first", "0", "45"), ("second", "21", "66")):
        _reconstruct(inputs, name, "--quality", "preview", "--start", start, "--end", end, "--every", "3")


def _make_surface(inputs: Path) -> None:
    _make_finished(inputs)
    ended = run_whole([sys.executable, "-m", "dd_sfm", "mesh", str(inputs / "run"), "-o", str(inputs / "ct.ply")])
    assert ended.returncode == 0, ended.stderr
    np.savetxt(inputs / "start.txt", np.eye(4))


def _make_board(inputs: Path) -> None:
    from boards import BoardCamera, TrueLens, checkerboard

    lens = TrueLens(320, 240, (150, 149, 161, 118), (-0.2, 0.05))
    camera, rng = BoardCamera(lens, checkerboard((10, 7))), np.random.default_rng(0)
    (inputs / "board").mkdir()
    (inputs.parent / "out").mkdir(exist_ok=True)
    for number in range(6):
        turn, shift = rng.uniform(-0.4, 0.4, 3), [*rng.uniform(-0.7, 0.7, 2), rng.uniform(6, 7.4)]
        write_image(inputs / "board" / f"{number}.png", camera.picture(turn, shift, seed=number))


def _make_manifest(inputs: Path) -> None:
    _copy_clip(inputs)
    options = "{end: 30, every: 3, quality: preview, device: cpu, set: describe.working_height_px=200}"
    video = f"source: {SINUS}/clip.mp4, calibration: {SINUS}/calibration.txt, options: {options}"
    lines = [f"  - {{name: {name}, {video}}}" for name in ("one", "two")]
    (inputs / "manifest.yaml").write_text("videos:\n" + "\n".join(lines) + "\n")


COMMANDS = {
    "reconstruct": Command(
        lambda inputs, out: ["reconstruct", *_source(inputs), "-o", out, *FRAMES, *TINY],
        run_result,
        _copy_clip,
        parts=("extract", "match", "map"),
        checked=(
            "map.json", "points.ply", "frames/*.png", "descriptors/*.npz", "frames.json", "tracks.npz",
            "descriptors/*.npy", "sparse/0/*.bin", "poses/0/*.bin", "frame_poses.json", "densify.json",
        ),
    ),
    "compare": Command(
        lambda inputs, out: [
            "compare", *_source(inputs), "-o", out, *FRAMES, *TINY, "--set", "runtime.deterministic=true",
        ],
        _compared,
        _copy_clip,
    ),
    "batch": Command(
        lambda inputs, out: ["batch", inputs / "manifest.yaml", "-o", out],
        _batch,
        _make_manifest,
        checked=("batch.json",),
    ),
    "synth": Command(
        lambda inputs, out: ["synth", "-o", out, "--frames", "6", "--size", "160x120", "--jobs", "2"],
        _rendered,
        repeats=False,
    ),
    "train": Command(
        lambda inputs, out: [
            "train", f"{inputs / SINUS}:0-20", "--validation", f"{inputs / SINUS}:40-60", "-o", out,
            "--steps", "12", "--threads", "1", "--device", "cpu", "--set", "working_height_px=112",
            "--set", "augment.crop=[64,64]", "--set", "checkpoint_every=4",
            "--set", "validate_every=3", "--set", "display_every=5", "--set", "tensorboard=true",
        ],
        _trained,
        _copy_clip,
        checked=("checkpoint.pt",),
    ),
    "calibrate": Command(
        lambda inputs, out: ["calibrate", inputs / "board", "-o", out / "scope.yaml", "--board", "9x6"],
        _calibrated,
        _make_board,
        makes_folder=False,
        repeats=False,
        locks=False,
    ),
    "convert": Command(
        lambda inputs, out: ["convert", inputs / "run", "-o", out, "--to", "colmap", "--copy-images"],
        _converted,
        _make_run,
        repeats=False,
    ),
    "localize": Command(
        lambda inputs, out: [
            "localize", inputs / "run", *_source(inputs), "-o", out, "--start", "5", "--end", "25", "--every", "4",
            *TINY,
        ],
        _localized,
        _make_finished,
        repeats=False,
    ),
    "merge": Command(
        lambda inputs, out: ["merge", inputs / "first", inputs / "second", "-o", out, "--device", "cpu"],
        run_result,
        _make_two,
        repeats=False,
    ),
    "register": Command(
        lambda inputs, out: [
            "register", inputs / "run", inputs / "ct.ply", "-o", out, "--initial", inputs / "start.txt",
        ],
        _registered,
        _make_surface,
        repeats=False,
    ),
}  # fmt: skip


@dataclass
class Bench:
    """A command with its inputs and what it finds when nothing disturbs it; ``busy_s``, ``size``: what that takes."""

    name: str
    work: Path
    expected: dict[str, Any] = field(default_factory=dict)
    busy_s: float = 0.0
    size: int = 0

    @property
    def command(self) -> Command:
        """What is run."""
        return COMMANDS[self.name]

    def measure(self, times: int = 1) -> None:
        """Run the command undisturbed; of several times the last one counts, as the first one may compile."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "inputs").mkdir(parents=True)
        self.command.prepare(self.work / "inputs")
        whole = self.work / "whole"
        for _ in range(times):
            self.empty(whole)
            before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            ended = run_whole(self.line(whole))
            assert ended.returncode == 0, ended.stderr
            self.busy_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        self.expected = dict(self.command.result(whole))
        self.size = sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in whole.rglob("*"))

    def empty(self, out: Path) -> Path:
        """An output folder in which nothing was done yet; returns it."""
        shutil.rmtree(out, ignore_errors=True)
        if not self.command.makes_folder:
            out.mkdir()
        return out

    def begun(self, part: str) -> Path | None:
        """An output in which a part of the work is done; None for no part."""
        if not part:
            return None
        out = self.work / part
        ended = run_whole(self.command.line(self.work / "inputs", out, part))
        assert ended.returncode == 0, ended.stderr
        return out

    def line(self, out: Path) -> list[str]:
        """The command line for an output."""
        return self.command.line(self.work / "inputs", out)

    def is_complete(self, out: Path) -> bool:
        """Whether a command that refuses to replace what it has finished has done so."""
        try:
            return not self.command.repeats and not self.wrong_in(out)
        except (OSError, ValueError, KeyError, InputError):
            return False

    def repeat(self, out: Path) -> list[str]:
        """Repeat the command on a sound machine, unless it would refuse to; what is wrong with its result."""
        if self.is_complete(out):
            return []
        ended = run_whole(self.line(out))
        if ended.returncode:
            return [f"repeated: exit code {ended.returncode}: {ended.stderr[-600:]}"]
        return self.wrong_in(out)

    def wrong_in(self, out: Path) -> list[str]:
        """What is wrong with an output that a command has finished."""
        left = [path.name for path in out.rglob("*.partial*")]
        wrong = [f"left behind: {left}"] if left else []
        return wrong + differences(self.command.result(out), self.expected)


def run_whole(line: Sequence[str], **named: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that does not come is a code of exit of its own."""
    try:
        return subprocess.run(line, capture_output=True, text=True, timeout=MOST_S, cwd=ROOT, check=False, **named)
    except subprocess.TimeoutExpired as error:
        said = [(text or b"").decode(errors="replace") for text in (error.stdout, error.stderr)]
        return subprocess.CompletedProcess(line, TIMED_OUT, *said)


def kill_after(line: Sequence[str], busy_s: float) -> bool:
    """Start a command and kill it with its children once they have computed for so long; False when it ended before.

    By the processor's time, as that on a clock depends on what else the machine does.
    """
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
    ) as process:
        while process.poll() is None:
            if busy_seconds(process.pid) >= busy_s:
                os.killpg(process.pid, signal.SIGKILL)
                return True
            time.sleep(POLL_S)
        return False


def busy_seconds(process: int) -> float:
    """The processor's time that a process and those that it has started have taken."""
    total = 0.0
    with suppress(psutil.Error):
        first = psutil.Process(process)
        for one in (first, *first.children(recursive=True)):
            with suppress(psutil.Error):
                total += sum(one.cpu_times()[:4])
    return total


def is_held(out: Path) -> bool:
    """Whether a process holds a folder, or a temporary one in it: its lock's file then tells of the process."""
    with suppress(FileNotFoundError):
        return any(lock.stat().st_size > 0 for lock in (out / LOCK, *out.glob(f".*.partial/{LOCK}")) if lock.exists())
    return False


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What of a result is not as in an undisturbed one."""
    wrong = []
    for name, value in expected.items():
        near = isinstance(value, int | float) and abs(found[name] - value) <= max(1.0, NEAR * abs(value))
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
