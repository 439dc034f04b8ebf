"""Faults of the machine, tried for real on every command: each ends in one line, and loses nothing.

    python tests/faults/fault_runs.py --work /tmp/faults [--faults disk,memory] [--commands reconstruct] [--tries 8]

After each fault the machine is made sound and the command repeated: the result is that of an undisturbed run.
"""

import argparse
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.commands import COMMANDS, Command, differences, refusal, run_whole

ROOM = 2_000_000_000
BLOCK = 4096
"""Bytes that a file system hands out at once."""


@dataclass
class Tried:
    """A fault that was tried: what, what the command said, and what was wrong with that or with the repeated run."""

    what: str
    said: str = ""
    wrong: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """A command with its inputs and what it finds when nothing disturbs it."""

    name: str
    command: Command
    work: Path
    expected: dict[str, Any] = field(default_factory=dict)
    size: int = 0

    def measure(self) -> None:
        """Run the command undisturbed."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "inputs").mkdir(parents=True)
        self.command.prepare(self.work / "inputs")
        ended = run_whole(self.line(self.work / "whole"))
        assert ended.returncode == 0, ended.stderr
        self.expected = dict(self.command.result(self.work / "whole"))
        self.size = sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in (self.work / "whole").rglob("*"))

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

    def repeat(self, out: Path) -> list[str]:
        """Repeat the command on a sound machine; what is wrong with its result."""
        ended = run_whole(self.line(out))
        if ended.returncode:
            return [f"repeated: exit code {ended.returncode}: {ended.stderr[-600:]}"]
        left = [path.name for path in out.rglob("*.partial*")]
        wrong = [f"left behind: {left}"] if left else []
        return wrong + differences(self.command.result(out), self.expected)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system of so many bytes; gives what changes its size. Needs the rights to mount."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True, capture_output=True)
    try:
        yield lambda new: subprocess.run(["mount", "-o", f"remount,size={new}", place], check=True) and None
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def last_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The last line that a command printed on stderr."""
    return (ended.stderr.strip().splitlines() or [""])[-1]


def disk_full(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """A disk that is full at some moment; then there is room, and the command is repeated.

    Also after each part of the work that has a command of its own, as most of what a run writes is written first.
    """
    for part in (*reversed(bench.command.parts), ""):
        begun = bench.begun(part)
        for number in range(tries):
            with small_disk(bench.work / "disk", ROOM) as resize:
                out = bench.work / "disk" / "out"
                if begun:
                    shutil.copytree(begun, out)
                used = shutil.disk_usage(bench.work / "disk").used
                free = int((number + rng.random()) / tries * (bench.size - used)) // BLOCK * BLOCK
                resize(used + max(BLOCK, free))
                ended = run_whole(bench.line(out))
                tried = Tried(f"{free / 1e3:.0f} kB free after {part or 'nothing'}", last_line(ended))
                if ended.returncode == 0:
                    tried.what += " (enough)"
                else:
                    tried.wrong += refusal(ended, "no space", "disk is full")
                    resize(ROOM)
                    tried.wrong += bench.repeat(out)
            yield tried


FAULTS: dict[str, Callable[[Bench, int, random.Random], Iterator[Tried]]] = {
    "disk": disk_full,
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--commands", default="reconstruct")
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = wrong = 0
    for name in options.commands.split(","):
        bench = Bench(name, COMMANDS[name], options.work / name)
        bench.measure()
        print(f"{name}: {bench.size / 1e6:.1f} MB, {str(bench.expected)[:200]}", flush=True)
        for fault in options.faults.split(","):
            for tried in FAULTS[fault](bench, options.tries, random.Random(options.seed)):
                count, wrong = count + 1, wrong + bool(tried.wrong)
                print(
                    f"{name}, {fault}: {tried.what}: {'; '.join(tried.wrong) or 'right'}\n    {tried.said}", flush=True
                )
    print(f"{count} faults tried, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
