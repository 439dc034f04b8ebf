"""How long a command says nothing: ``python tests/silences.py COMMAND...`` prints its longest silences.

The command writes to pipes, as under another program. A silence is the time between two things that it wrote, or until
its first or after its last.
"""

import os
import pty
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO


@dataclass(frozen=True)
class Silence:
    """``seconds`` in which nothing was written, after the text ``after`` and before ``before``."""

    seconds: float
    after: str
    before: str


@dataclass(frozen=True)
class Heard:
    """``code``: the exit code; ``seconds`` in all; ``text``: all that was written; ``silences``: the longest first."""

    code: int
    seconds: float
    text: str
    silences: list[Silence]


def listen(command: Sequence[str], *, terminal: bool = False) -> Heard:
    """Run a command and note when it writes; with ``terminal`` it believes to write to one."""
    begun = time.monotonic()
    if terminal:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        outputs = [ours]
    else:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        pipes: list[IO[bytes] | None] = [process.stdout, process.stderr]
        outputs = [pipe.fileno() for pipe in pipes if pipe is not None]
    written: list[tuple[float, str]] = []
    with selectors.DefaultSelector() as selector:
        for output in outputs:
            selector.register(output, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                text = _read(key.fd)
                if text:
                    written.append((time.monotonic(), text))
                else:
                    selector.unregister(key.fd)
    code, ended = process.wait(), time.monotonic()
    moments = [(begun, "(start)"), *written, (ended, "(end)")]
    silences = [
        Silence(after - before, _last_line(said), _last_line(says))
        for (before, said), (after, says) in pairwise(moments)
    ]
    silences.sort(key=lambda silence: -silence.seconds)
    return Heard(code, ended - begun, "".join(text for _, text in written), silences)


def _read(output: int) -> str:
    try:
        return os.read(output, 1 << 16).decode(errors="replace")
    except OSError:
        # What reading from a terminal gives once nobody writes to it any more.
        return ""


def _last_line(text: str) -> str:
    return text.replace("\r", "\n").strip().rpartition("\n")[2].strip()


def main() -> None:
    """Print the longest silences of the command that is named."""
    words = sys.argv[1:]
    is_terminal = words[:1] == ["--terminal"]
    heard = listen(words[is_terminal:], terminal=is_terminal)
    print(f"exit code {heard.code}, {heard.seconds:.1f} s")
    for silence in heard.silences[:5]:
        print(f"{silence.seconds:6.1f} s between '{silence.after[:100]}' and '{silence.before[:100]}'")


if __name__ == "__main__":
    main()
