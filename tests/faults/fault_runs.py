"""Faults of the machine, tried for real on every command: each ends in one line, and loses nothing.

    python tests/faults/fault_runs.py --work /tmp/faults [--faults disk,memory] [--commands reconstruct] [--tries 8]

After each fault the machine is made sound and the command repeated: the result is that of an undisturbed run.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.commands import BLOCK, ROOT, Bench, busy_seconds, is_held, refusal, run_whole

ROOM = 2_000_000_000
LEAST_MEMORY, MOST_MEMORY = 100_000_000, 3_200_000_000
CLOCK = {
    "1970": "import time; time.time = lambda: time.monotonic() % 1e6",
    "jumps": "import time; real = time.time; time.time = lambda: real() + 86400 * (int(time.monotonic() * 3) % 5 - 2)",
}
"""What a process runs first, to be told a wrong time."""
BATCH_SAYS = "videos failed"
"""What a batch says at the end, in whose report each video has its own line."""
NO_LOCKS = """
import errno, fcntl, os
def refuse(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = refuse
"""


@dataclass
class Tried:
    """A fault that was tried: what, what the command said, and what was wrong with that or with the repeated run."""

    what: str
    said: str = ""
    wrong: list[str] = field(default_factory=list)


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
                out = bench.empty(bench.work / "disk" / "out")
                if begun:
                    shutil.copytree(begun, out, dirs_exist_ok=True)
                used = shutil.disk_usage(bench.work / "disk").used
                free = int((number + rng.random()) / tries * (bench.size - used)) // BLOCK * BLOCK
                resize(used + max(BLOCK, free))
                ended = run_whole(bench.line(out))
                tried = Tried(f"{free / 1e3:.0f} kB free after {part or 'nothing'}", last_line(ended))
                if ended.returncode == 0:
                    tried.what += " (enough)"
                else:
                    tried.wrong += refusal(ended, "no space", "disk is full", BATCH_SAYS)
                    resize(ROOM)
                    tried.wrong += bench.repeat(out)
            yield tried


def little_memory(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """Too little address space, from next to nothing to nearly enough."""
    for number in range(tries):
        limit = int(LEAST_MEMORY + (number + rng.random()) / tries * (MOST_MEMORY - LEAST_MEMORY))
        out = bench.empty(bench.work / "memory")
        ended = run_whole(bench.line(out), preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit)))
        tried = Tried(f"{limit / 1e9:.2f} GB of address space", last_line(ended))
        if ended.returncode == 0:
            tried.what += " (enough)"
        elif "memory" in last_line(ended).lower() and not last_line(ended).startswith("dd-sfm"):
            # A library has ended the process itself: only the warning at the start can say what helps.
            tried.what += " (ended by a library)"
            tried.wrong += [] if "warning: ulimit -v" in ended.stderr else ["no warning"]
        else:
            tried.wrong += refusal(ended, "memory", BATCH_SAYS)
        tried.wrong += bench.repeat(out)
        yield tried


def damaged_files(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """A file of a finished run with a flipped bit or a lost end: told, and made good."""
    whole, kinds = bench.work / "whole", bench.command.checked
    for number in range(tries if kinds else 0):
        out = bench.empty(bench.work / "spoilt")
        shutil.copytree(whole, out, dirs_exist_ok=True)
        path = rng.choice(sorted(out.glob(kinds[number % len(kinds)])))
        content = bytearray(path.read_bytes())
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content[: place + 1] if number % 2 else content)
        ended = run_whole(bench.line(out))
        told = next((line for line in ended.stderr.splitlines() if str(path) in line), "")
        tried = Tried(f"{path.relative_to(out)} {'cut off' if number % 2 else 'changed'} at byte {place}", told)
        # Once frames are matched, descriptors are not read any more.
        is_read = path.parent.name != "descriptors"
        tried.wrong += [] if ("damaged" in told) == is_read else [f"told or not: {ended.stderr[-400:]}"]
        if ended.returncode:
            # What cannot be made again from other files is for the user to give up.
            tried.wrong += refusal(ended, "damaged")
            path.unlink()
        tried.wrong += bench.repeat(out)
        yield tried


def stopped_twice(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """Ctrl-C, and once more before the command has ended; then it is repeated."""
    for number in range(tries):
        out = bench.empty(bench.work / "stopped")
        after_s = (number + rng.random()) / tries * bench.busy_s
        with subprocess.Popen(bench.line(out), stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
            while running.poll() is None and busy_seconds(running.pid) < after_s:
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            time.sleep(0.4)
            running.send_signal(signal.SIGINT)
            sent = time.monotonic()
            _, text = running.communicate()
        tried = Tried(f"Ctrl-C twice after {after_s:.1f} s of work", (text.strip().splitlines() or [""])[-1])
        if running.returncode not in (0, 130, -signal.SIGINT) or "Traceback" in text:
            tried.wrong.append(f"exit code {running.returncode}: {text[-500:]}")
        if time.monotonic() - sent > 10:
            tried.wrong.append("not at once")
        tried.wrong += bench.repeat(out)
        yield tried


def wrong_clock(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """A clock that stands in 1970 or jumps back and forth by days; then it is right again."""
    for what in ("1970", "jumps")[:tries]:
        out = bench.empty(bench.work / "clock")
        ended = run_whole(bench.line(out), env=deceived(bench, CLOCK[what]))
        tried = Tried(f"clock {what}", last_line(ended))
        if ended.returncode:
            tried.wrong.append(f"exit code {ended.returncode}: {ended.stderr[-500:]}")
        tried.wrong += bench.repeat(out)
        yield tried


def deceived(bench: Bench, code: str) -> dict[str, str]:
    """The environment in which every Python process runs some code first."""
    place = bench.work / "first"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(code)
    return {**os.environ, "PYTHONPATH": f"{place}:{ROOT}"}


def no_locks(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """An output on a file system without locks, alone and two at once on one machine."""
    if not bench.command.locks:
        return
    out, environment = bench.empty(bench.work / "unlocked"), deceived(bench, NO_LOCKS)
    ended = run_whole(bench.line(out), env=environment)
    told = next((line for line in ended.stderr.splitlines() if "no lock" in line), "")
    tried = Tried("a file system without locks", told or last_line(ended))
    tried.wrong += [f"exit code {ended.returncode}: {ended.stderr[-500:]}"] if ended.returncode else []
    tried.wrong += [] if told else [f"no warning: {ended.stderr[-300:]}"]
    tried.wrong += bench.repeat(out)
    yield tried
    yield from two_at_once(bench, tries, rng, environment)


def read_only_source(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """Inputs on a file system that cannot be written to: no obstacle."""
    inputs, out = bench.work / "inputs", bench.empty(bench.work / "read_only_source")
    subprocess.run(["mount", "--bind", inputs, inputs], check=True, capture_output=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", inputs], check=True, capture_output=True)
        ended = run_whole(bench.line(out))
        tried = Tried("a read-only source", last_line(ended))
        tried.wrong += [f"exit code {ended.returncode}: {ended.stderr[-500:]}"] if ended.returncode else []
        tried.wrong += bench.repeat(out)
    finally:
        subprocess.run(["umount", "-l", inputs], check=False, capture_output=True)
    yield tried


def two_at_once(
    bench: Bench, tries: int, rng: random.Random, environment: dict[str, str] | None = None
) -> Iterator[Tried]:
    """A second command in the folder that a first one works in."""
    if not bench.command.locks:
        return
    out = bench.empty(bench.work / "shared")
    with subprocess.Popen(
        bench.line(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as first:
        while first.poll() is None and not is_held(out):
            time.sleep(0.02)
        ended = run_whole(bench.line(out), env=environment)
        is_alone = first.poll() is not None
        first.wait()
    tried = Tried(f"two at once{' without locks' if environment else ''}", last_line(ended))
    tried.wrong += [] if is_alone else refusal(ended, "another dd-sfm")
    tried.wrong += [f"the first one: exit code {first.returncode}"] if first.returncode else []
    tried.wrong += bench.repeat(out)
    yield tried


def read_only_output(bench: Bench, tries: int, rng: random.Random) -> Iterator[Tried]:
    """An output on a file system that cannot be written to, and one that is removed meanwhile."""
    with small_disk(bench.work / "disk", ROOM):
        out = bench.empty(bench.work / "disk" / "out")
        subprocess.run(["mount", "-o", "remount,ro", bench.work / "disk"], check=True)
        ended = run_whole(bench.line(out))
        tried = Tried("a read-only file system", last_line(ended))
        tried.wrong += refusal(ended, "read-only", "cannot be written")
        yield tried
        subprocess.run(["mount", "-o", "remount,rw", bench.work / "disk"], check=True)
        shutil.copytree(bench.work / "whole", out, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", bench.work / "disk"], check=True)
        ended = run_whole(bench.line(out))
        tried = Tried("a read-only file system, all done before", last_line(ended))
        tried.wrong += refusal(ended) if ended.returncode else []
        yield tried
    for number in range(tries):
        out = bench.empty(bench.work / "gone")
        after_s = (number + rng.random()) / tries * bench.busy_s
        with subprocess.Popen(
            bench.line(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        ) as running:
            while running.poll() is None and busy_seconds(running.pid) < after_s:
                time.sleep(0.02)
            shutil.rmtree(out, ignore_errors=True)
            said, text = running.communicate()
        ended = subprocess.CompletedProcess((), running.returncode, said, text)
        tried = Tried(f"the output removed after {after_s:.1f} s of work", last_line(ended))
        tried.what += "" if running.returncode else " (before or after the work)"
        tried.wrong += refusal(ended) if running.returncode else []
        # Ended well it has written all of it after the removal, or some of it, which nobody can tell.
        bench.empty(out)
        tried.wrong += bench.repeat(out)
        yield tried


FAULTS: dict[str, Callable[[Bench, int, random.Random], Iterator[Tried]]] = {
    "disk": disk_full,
    "memory": little_memory,
    "damage": damaged_files,
    "twice": stopped_twice,
    "clock": wrong_clock,
    "two": two_at_once,
    "locks": no_locks,
    "source": read_only_source,
    "output": read_only_output,
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
        bench = Bench(name, options.work / name)
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
