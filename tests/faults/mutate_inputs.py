"""Spoils valid inputs at random and reads them: each is read, or refused by one clear line, and nothing else happens.

    python tests/faults/mutate_inputs.py --inputs 10000 --seed 0 --work /tmp/inputs

Inputs are read in a process of their own, whose memory is bounded; one that takes too long, or more memory, or ends by
a signal is found by the process that started it. Around them lies a folder that nothing may touch.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from mutations import SCRIPT, Spoiler  # noqa: E402
from valid_inputs import KINDS  # noqa: E402

ROOT = Path(__file__).parents[2]
MOST_S, MOST_BYTES = 10.0, 3 << 30
"""Time and memory of an input beyond what the libraries take."""
COMMAND_EVERY = 40
"""Of so many inputs one is given to a command as well."""
SECRET = "a secret that no command may copy"
MANY = 8
"""Files of one ending in a folder."""
ONE_LINE = 3000
"""Characters of a message at most."""


@dataclass
class Outcome:
    """What became of an input: ``read``, ``refused`` or ``fault``, with what was done to it and what was found."""

    kind: str
    number: int
    result: str
    done: str
    found: str = ""
    where: str = ""
    seconds: float = 0.0


def make_outside(folder: Path) -> None:
    """A folder beside the inputs that nothing may read from, write to or delete in."""
    victim = folder / "victim"
    victim.mkdir(parents=True)
    (folder / "secret.txt").write_text(SECRET)
    import cv2
    import numpy as np

    cv2.imwrite(str(folder / "secret.png"), np.random.default_rng(9).integers(0, 255, (120, 160, 3)).astype(np.uint8))
    for name in ("00000010.png", "cameras.bin", "cloud.png", "00000010.png.png", "grid.json", "basis.npy"):
        (victim / name).write_text(SECRET)


def _groups(folder: Path) -> list[list[Path]]:
    """The files of a folder; those of one ending in a folder of many are one group, as the frames of a run."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        groups.setdefault((path.parent, path.suffix), []).append(path)
    return [part for paths in groups.values() for part in ([paths] if len(paths) > MANY else [[p] for p in paths])]


def digest(folder: Path) -> dict[str, str]:
    """Content of every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


class Bench:
    """Valid inputs of each kind, of which spoilt copies are made and read, in a folder."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.outside, self.case = work / "outside", work / "case"
        shutil.rmtree(self.outside, ignore_errors=True)
        make_outside(self.outside)
        self.before = digest(self.outside)

    def valid(self, kind: str) -> Path:
        """The folder of valid inputs of a kind."""
        folder = self.work / "valid" / kind
        if not folder.exists():
            KINDS[kind].make(folder)
        return folder

    def spoilt(self, kind: str, number: int, seed: int) -> tuple[Path, str]:
        """Make an input; returns its folder and what was done."""
        rng = random.Random(f"{seed} {kind} {number}")
        shutil.rmtree(self.case, ignore_errors=True)
        valid, folder = self.valid(kind), self.case / "in"
        choices = sorted(valid.iterdir())
        numbered = all(path.name.isdigit() and path.is_dir() for path in choices)
        shutil.copytree(rng.choice(choices) if numbered else valid, folder)
        spoiler = Spoiler(rng, self.outside)
        files = [rng.choice(alike) for alike in _groups(folder)]
        done = [spoiler.spoil(path) for path in rng.sample(files, min(len(files), rng.choice((1, 1, 1, 3))))]
        if rng.random() < 0.05:
            done.append(self._renamed(folder, rng))
        if rng.random() < 0.03:
            done.append(self._linked_folder(folder, rng))
        return folder, "; ".join(done)

    def check_valid(self, kind: str) -> list[str]:
        """What is wrong with the valid inputs of a kind: nothing, or the others would be refused for that."""
        found = []
        valid = self.valid(kind)
        choices = sorted(valid.iterdir())
        numbered = all(path.name.isdigit() and path.is_dir() for path in choices)
        for chosen in choices if numbered else [valid]:
            shutil.rmtree(self.case, ignore_errors=True)
            shutil.copytree(chosen, self.case / "in")
            for read in KINDS[kind].read(self.case / "in"):
                try:
                    read()
                except Exception as error:
                    found.append(f"{chosen.name}: {type(error).__name__}: {error}")
        return found

    def _renamed(self, folder: Path, rng: random.Random) -> str:
        """Give a file or the folder of images a name that nobody would choose."""
        path = rng.choice(sorted(path for path in folder.rglob("*") if os.path.lexists(path)))
        names = (
            "a\nb",
            "-rf",
            "--help",
            SCRIPT.replace("/", ""),
            "\x1b]0;title\x07",
            "\u202e",
            "%s",
            "a b'\"",
            "\udce4",
        )
        path.rename(path.with_name(rng.choice(names) + path.suffix))
        return f"{path.name} renamed"

    def _linked_folder(self, folder: Path, rng: random.Random) -> str:
        """Put a link to a folder outside in the place of one."""
        inside = sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
        if not inside:
            return ""
        chosen = rng.choice(inside)
        shutil.rmtree(chosen)
        chosen.symlink_to(self.outside / "victim")
        return f"{chosen.name} is a link to a folder outside"

    def run(self, kind: str, number: int, seed: int, begun: Callable[[str], None] = lambda _: None) -> Outcome:
        """Spoil an input, tell that it is ``begun``, read it, and see what became of it."""
        folder, done = self.spoilt(kind, number, seed)
        begun(done)
        started, faults, refused, where = time.monotonic(), [], 0, ""
        for read in KINDS[kind].read(folder):
            try:
                read()
            except Exception as error:
                fault = judge(error)
                refused += 1
                if fault:
                    faults.append(fault)
                    where = where or "".join(traceback.format_tb(error.__traceback__)[-6:])
        after = digest(self.outside) if self.outside.is_dir() else {}
        if after != self.before:
            changed = sorted(set(after.items()) ^ set(self.before.items()))
            faults.append(f"outside was changed: {changed[:3]}")
            shutil.rmtree(self.outside)
            make_outside(self.outside)
        faults += self._copied()
        result = "fault" if faults else "refused" if refused else "read"
        return Outcome(kind, number, result, done, " | ".join(dict.fromkeys(faults)), where, time.monotonic() - started)

    def _copied(self) -> list[str]:
        """Secrets that got into what was written."""
        out = self.case / "out"
        secrets = {self.before["secret.txt"], self.before["secret.png"]}
        files = digest(out) if out.is_dir() else {}
        return [f"{name} is a copy of a file outside" for name, content in files.items() if content in secrets]


def judge(error: Exception) -> str:
    """What is wrong with an error: nothing where it is a line for the user."""
    from dd_sfm.cli.app import explain
    from dd_sfm.errors import DDSfMError

    text = explain(error)[0]
    if not isinstance(error, DDSfMError):
        return f"{type(error).__name__}: {str(error)[:150]}"
    if not text.isprintable() or len(text) > ONE_LINE:
        return f"no clear line ({len(text)} characters): {text[:100]!r}"
    return ""


def serve(work: Path, seed: int) -> None:
    """Read inputs named on stdin, one a line; answers go to the file descriptor 3."""
    import torch

    import dd_sfm.api
    import dd_sfm.cli.app  # noqa: F401

    torch.set_num_threads(1)
    bench = Bench(work)
    size = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, size + MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(3, "w") as answers:
        warm = set()

        def tell(done: str) -> None:
            print(json.dumps(done), file=answers, flush=True)

        for line in sys.stdin:
            kind, number = line.split()
            if kind not in warm:
                # Imports and compiled loops take their time once, which is none of the input's.
                bench.check_valid(kind)
                warm.add(kind)
            outcome = bench.run(kind, int(number), seed, tell)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if peak > MOST_BYTES + (1 << 30):
                outcome.result, outcome.found = "fault", f"{outcome.found} | {peak / 1e9:.1f} GB of memory"
            print(json.dumps(asdict(outcome)), file=answers, flush=True)


class Child:
    """The process in which inputs are read; started anew when it has ended."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        read, write = os.pipe()
        command = ["import os, runpy, sys", f"os.dup2({write}, 3)", f"sys.argv[1:] = {self._arguments()!r}"]
        command.append(f"runpy.run_path({str(Path(__file__))!r}, run_name='__main__')")
        self.log = (self.work / "child.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", "; ".join(command)], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log,
            text=True, pass_fds=(write,), cwd=self.work,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(write)
        self.answers, self.rest = read, b""

    def _arguments(self) -> list[str]:
        return ["--serve", "--seed", str(self.seed), "--work", str(self.work)]

    def ask(self, kind: str, number: int) -> Outcome:
        """Have an input read, within its bounds."""
        if self.process is None:
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        print(kind, number, file=self.process.stdin, flush=True)
        # Making the valid inputs takes its time, which is none of the reader's.
        done, why = self._wait(30 * MOST_S)
        answer, why = self._wait(MOST_S) if done else ("", why)
        if answer:
            return Outcome(**json.loads(answer))
        self.stop()
        last = (self.work / "child.log").read_text(errors="replace")[-500:]
        return Outcome(kind, number, "fault", json.loads(done or '""'), why, last)

    def _wait(self, most_s: float) -> tuple[str, str]:
        """A line of the answer; "" and why for a process that ended, or that is to be ended as it takes too long."""
        assert self.process is not None
        watched = psutil.Process(self.process.pid)
        begun, used = time.monotonic(), sum(watched.cpu_times()[:2])
        while b"\n" not in self.rest:
            if select.select([self.answers], [], [], 0.2)[0]:
                more = os.read(self.answers, 65536)
                if not more:
                    return "", f"the process ended: {self.process.wait()}"
                self.rest += more
                continue
            passed, busy = time.monotonic() - begun, sum(watched.cpu_times()[:2]) - used
            # On a shared machine time passes in which the process gets no processor; then it does not sleep.
            waits = busy < 0.01 * passed and watched.status() == psutil.STATUS_SLEEPING
            if busy > most_s or (passed > most_s and waits) or passed > 36 * most_s:
                return "", f"hangs: {passed:.0f} s, {busy:.1f} s of them at work"
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(), ""

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            os.close(self.answers)
            self.log.close()
        self.process = None


def run_command(work: Path, kind: str, number: int, seed: int) -> Outcome | None:
    """Give an input to a command as a process of its own; None where the kind has no command."""
    command = KINDS[kind].command
    if command is None:
        return None
    bench = Bench(work / "command")
    folder, done = bench.spoilt(kind, number, seed)
    started = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "dd_sfm", *command(folder)], capture_output=True, text=True, errors="replace",
            timeout=36 * MOST_S, cwd=ROOT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(kind, number, "fault", done, "the command hangs")
    lines = [line for line in ended.stderr.splitlines() if line.startswith("dd-sfm:")]
    faults = []
    if ended.returncode not in (0, 1, 2) or "Traceback" in ended.stderr or "unexpected" in ended.stderr:
        faults.append(f"exit code {ended.returncode}: {ended.stderr[-300:]}")
    elif ended.returncode and len(lines) != 1:
        faults.append(f"{len(lines)} lines: {ended.stderr[-300:]}")
    if digest(bench.outside) != bench.before:
        faults.append("outside was changed")
    result = "fault" if faults else "refused" if ended.returncode else "read"
    return Outcome(f"{kind}, command", number, result, done, " | ".join(faults), "", time.monotonic() - started)


def try_inputs(
    work: Path, kinds: Sequence[str], inputs: int, seed: int, *, first: int = 0, commands: bool = True
) -> list[Outcome]:
    """Try inputs, the kinds in turn; faults are told as they are found, and written to ``work/faults.jsonl``."""
    work.mkdir(parents=True, exist_ok=True)
    child, outcomes = Child(work / "child", seed), []
    with (work / "faults.jsonl").open("a") as file:
        for k in range(first, inputs):
            kind, number = kinds[k % len(kinds)], k // len(kinds)
            found = [child.ask(kind, number)]
            if commands and number % COMMAND_EVERY == 0:
                found += filter(None, [run_command(work, kind, number, seed)])
            for outcome in found:
                outcomes.append(outcome)
                if outcome.result == "fault":
                    print(json.dumps(asdict(outcome)), file=file, flush=True)
            if (k + 1) % 100 == 0:
                print(f"{k + 1} of {inputs}: {counts(outcomes)}", flush=True)
    child.stop()
    return outcomes


def counts(outcomes: Sequence[Outcome]) -> str:
    """How many inputs were read, refused, or are faults."""
    found = Counter(outcome.result for outcome in outcomes)
    return ", ".join(f"{found[name]} {name}" for name in ("read", "refused", "fault"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--one", type=int, help="read this input of one kind here, and show where it fails")
    parser.add_argument("--no-commands", action="store_true", help="read within one process alone")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work.absolute()
    if given.serve:
        serve(work, given.seed)
        return
    if given.one is not None:
        outcome = Bench(work / "one").run(given.kinds[0], given.one, given.seed)
        print(f"{outcome.result}: {outcome.done}\n{outcome.where}\n{outcome.found}")
        return
    outcomes = try_inputs(work, given.kinds, given.inputs, given.seed, commands=not given.no_commands)
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        print(f"{kind}: {counts([outcome for outcome in outcomes if outcome.kind == kind])}")
    for outcome in outcomes:
        if outcome.result == "fault":
            print(f"{outcome.kind} {outcome.number}: {outcome.found}\n    {outcome.done}")
    sys.exit(any(outcome.result == "fault" for outcome in outcomes))


if __name__ == "__main__":
    main()
