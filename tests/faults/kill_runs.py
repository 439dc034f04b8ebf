"""Kills commands at random moments and repeats them: the result is that of an undisturbed run.

    python tests/faults/kill_runs.py --kills 100 --seed 0 --work /tmp/kills

Every kill is SIGKILL to the command and its children. Afterwards every file that can be checked is whole, and the
repeated command does no finished stage again.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "demo_videos" / "sinus"
SMALL = (
    "--calibration", str(CLIP / "calibration.txt"), "--quality", "preview", "--end", "30", "--every", "3",
    "--set", "describe.working_height_px=200", "--device", "cpu",
)  # fmt: skip
MOST_S = 600


@dataclass
class Killed:
    """A kill: after so many seconds, in which stage, and what was wrong after the command was repeated."""

    after_s: float
    stage: str
    wrong: list[str] = field(default_factory=list)


def reconstruct(out: Path) -> list[str]:
    """The command that is killed."""
    return [sys.executable, "-m", "dd_sfm", "reconstruct", str(CLIP / "clip.mp4"), "-o", str(out), *SMALL]


def figures(out: Path) -> tuple[int, list[int]]:
    """Points of a finished run, and the numbers of its registered frames."""
    import dd_sfm

    run = dd_sfm.open_run(out)
    return len(run.points), sorted(run.poses)


def finished(out: Path) -> dict[str, object]:
    """The stages that a run has finished, with the time at which the file that they end with was written."""
    record = out / "stages.json"
    if not record.is_file():
        return {}
    stages = json.loads(record.read_text())["stages"]
    return {name: entry["seconds"] for name, entry in stages.items() if entry["done"]}


def check_files(out: Path) -> list[str]:
    """Files that are not whole, of those that have their final name."""
    wrong = []
    for path in out.rglob("*"):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with np.load(path) as arrays:
                    [arrays[name] for name in arrays.files]
            elif path.suffix == ".npy":
                np.load(path)
        except (ValueError, OSError, KeyError) as error:
            wrong.append(f"{path.relative_to(out)}: {error}")
    return wrong


def run_whole(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, cwd=ROOT, check=False)


def kill_after(command: Sequence[str], seconds: float) -> bool:
    """Start a command and kill it with its children; False when it had ended before."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
    ) as process:
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True


def current_stage(out: Path) -> str:
    """What a run was doing when it was killed."""
    record = out / "stages.json"
    if not record.is_file():
        return "start"
    stages = json.loads(record.read_text())["stages"]
    return next((name for name, entry in stages.items() if not entry["done"]), "between stages")


def kill_and_repeat(out: Path, after_s: float, expected: tuple[int, list[int]]) -> Killed:
    """Kill a run once, repeat the command, and compare with an undisturbed run."""
    shutil.rmtree(out, ignore_errors=True)
    if not kill_after(reconstruct(out), after_s):
        return Killed(after_s, "ended")
    done = finished(out)
    found = Killed(after_s, current_stage(out), check_files(out))
    repeated = run_whole(reconstruct(out))
    if repeated.returncode:
        found.wrong.append(f"repeated: exit code {repeated.returncode}: {repeated.stderr[-500:]}")
        return found
    for stage in done:
        if f"{stage}: done before" not in repeated.stdout + repeated.stderr:
            found.wrong.append(f"{stage} was finished, and done again")
    points, frames = figures(out)
    if abs(points - expected[0]) > max(1.0, 0.005 * expected[0]):
        found.wrong.append(f"{points} points; expected {expected[0]}")
    if frames != expected[1]:
        found.wrong.append(f"frames {frames}; expected {expected[1]}")
    found.wrong += [f"left behind: {path.relative_to(out)}" for path in out.rglob("*.partial*")]
    return found


def kill_often(work: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> list[Killed]:
    """Kill runs at moments spread over all of an undisturbed one's time; returns what was found."""
    whole = work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    # The second one takes the time: the first one may compile.
    for _ in range(2):
        shutil.rmtree(whole, ignore_errors=True)
        started = time.monotonic()
        first = run_whole(reconstruct(whole))
        assert first.returncode == 0, first.stderr
    seconds, expected = time.monotonic() - started, figures(whole)
    say(f"undisturbed: {seconds:.1f} s, {expected[0]} points, {len(expected[1])} frames")
    rng = random.Random(seed)
    found = []
    for number in range(kills):
        after_s = rng.uniform(0.0, seconds)
        killed = kill_and_repeat(work / "killed", after_s, expected)
        found.append(killed)
        say(f"{number + 1}: after {after_s:.1f} s in {killed.stage}: {'; '.join(killed.wrong) or 'right'}")
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    found = kill_often(options.work, options.kills, options.seed, lambda text: print(text, flush=True))
    wrong = [killed for killed in found if killed.wrong]
    print(f"{len(found)} kills, {len(wrong)} with a fault")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
