"""Kills commands at random moments and repeats them: the result is that of an undisturbed run.

    python tests/faults/kill_runs.py --kills 100 --seed 0 --work /tmp/kills [--command reconstruct]

Every kill is SIGKILL to the command and its children. Afterwards every file that can be checked is whole, and the
repeated command does no finished stage again. ``--command``: one of those of ``commands.py``.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.commands import COMMANDS, Bench, kill_after, run_whole


@dataclass
class Killed:
    """A kill: after so many seconds of work, in which stage, and what was wrong after the command was repeated."""

    after_s: float
    stage: str
    wrong: list[str] = field(default_factory=list)


def finished(out: Path) -> list[str]:
    """The stages that a run has finished; none of what is no run."""
    record = out / "stages.json"
    if not record.is_file():
        return []
    return [name for name, entry in json.loads(record.read_text())["stages"].items() if entry["done"]]


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


def current_stage(out: Path) -> str:
    """What a run was doing when it was killed; of other commands which files were there."""
    record = out / "stages.json"
    if not record.is_file():
        names = sorted(path.name for path in out.iterdir() if path.name[0] != ".") if out.is_dir() else []
        return f"start with {', '.join(names)}" if names else "start"
    stages = json.loads(record.read_text())["stages"]
    return next((name for name, entry in stages.items() if not entry["done"]), "between stages")


def kill_and_repeat(bench: Bench, after_s: float) -> Killed:
    """Kill a command once, repeat it, and compare with an undisturbed run."""
    out = bench.empty(bench.work / "killed")
    if not kill_after(bench.line(out), after_s):
        return Killed(after_s, "ended")
    done = finished(out)
    found = Killed(after_s, current_stage(out), check_files(out) if out.is_dir() else [])
    if bench.is_complete(out):
        return found
    repeated = run_whole(bench.line(out))
    if repeated.returncode:
        found.wrong.append(f"repeated: exit code {repeated.returncode}: {repeated.stderr[-500:]}")
        return found
    for stage in done:
        if f"{stage}: done before" not in repeated.stdout + repeated.stderr:
            found.wrong.append(f"{stage} was finished, and done again")
    found.wrong += bench.wrong_in(out)
    return found


def kill_often(
    work: Path, kills: int, seed: int, say: Callable[[str], None] = print, command: str = "reconstruct", times: int = 2
) -> list[Killed]:
    """Kill a command at moments spread over all of an undisturbed one's time; returns what was found."""
    bench = Bench(command, work)
    bench.measure(times)
    say(f"undisturbed: {bench.busy_s:.1f} s, {str(bench.expected)[:200]}")
    rng = random.Random(seed)
    found = []
    for number in range(kills):
        killed = kill_and_repeat(bench, rng.uniform(0.0, bench.busy_s))
        found.append(killed)
        say(f"{number + 1}: after {killed.after_s:.1f} s in {killed.stage}: {'; '.join(killed.wrong) or 'right'}")
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--command", choices=COMMANDS, default="reconstruct")
    options = parser.parse_args()
    found = kill_often(options.work, options.kills, options.seed, lambda text: print(text, flush=True), options.command)
    wrong = [killed for killed in found if killed.wrong]
    print(f"{len(found)} kills, {len(wrong)} with a fault")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
