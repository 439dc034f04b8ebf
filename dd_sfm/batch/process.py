"""The process that works on a video: started by a worker, ended by time, by the user, or with the worker."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dd_sfm.batch.task import Ending

POLL_S = 0.25
GRACE_S = 20.0
"""So long a process that is asked to end may take, before it is made to."""
TAIL_BYTES = 20_000
OWN = "dd-sfm: "
"""How the lines begin that say why a command ended."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and in words why."""

    ending: Ending
    error: str
    seconds: float


class _Processes:
    """The processes of this worker by the call that they are of, and the calls that were stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._running: dict[str, set[int]] = {}

    def stop(self, call: str) -> None:
        with self._lock:
            self._stopped.add(call)
            for process in self._running.get(call, ()):
                _signal(process, signal.SIGTERM)

    def is_stopped(self, call: str) -> bool:
        return call in self._stopped

    def add(self, call: str, process: int) -> None:
        with self._lock:
            self._running.setdefault(call, set()).add(process)
            if call in self._stopped:
                _signal(process, signal.SIGTERM)

    def remove(self, call: str, process: int) -> None:
        with self._lock:
            self._running[call].discard(process)


_processes = _Processes()


def stop_batch(call: str) -> None:
    """Ask all processes of one call of a batch on this worker to end, and let none begin."""
    _processes.stop(call)


def is_stopped(call: str) -> bool:
    """Whether a call of a batch was stopped on this worker."""
    return _processes.is_stopped(call)


def run_process(
    words: Sequence[str], environment: Mapping[str, str], *, call: str, timeout_s: float | None = None
) -> Ended:
    """Run Python with arguments, in a process group of its own: the terminal's Ctrl-C is not for it.

    Args:
        words: Arguments of Python.
        environment: What is changed in that of the process.
        call: Of which batch it is; see :func:`stop_batch`.
        timeout_s: It is ended after so many seconds.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            _processes.add(call, process.pid)
            is_late = _wait(process, started, timeout_s, call)
        finally:
            _end(process)
            _processes.remove(call, process.pid)
        seconds = time.monotonic() - started
        messages.seek(max(0, messages.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = messages.read().decode(errors="replace")
    if is_late:
        return Ended(Ending.FAILED, f"not done after {timeout_s:g} s; a longer --timeout lets it go on", seconds)
    return Ended(*_ending(process.returncode, text, stopped=is_stopped(call)), seconds)


def _wait(process: subprocess.Popen[bytes], started: float, timeout_s: float | None, call: str) -> bool:
    """Wait for the end of a process; returns whether its time was over before."""
    asked_s = None
    while True:
        try:
            process.wait(POLL_S)
            return False
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        if timeout_s is not None and now - started > timeout_s:
            _signal(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            return True
        if is_stopped(call):
            asked_s = now if asked_s is None else asked_s
            if now - asked_s > GRACE_S:
                return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of those that it started."""
    _signal(process.pid, signal.SIGKILL, group=True)
    process.wait()


def _signal(process: int, number: int, *, group: bool = False) -> None:
    # It may have ended meanwhile.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, number) if group else os.kill(process, number)


def _ending(code: int, text: str, *, stopped: bool) -> tuple[Ending, str]:
    """What a code of exit and the messages before it mean."""
    if code == 0:
        return Ending.DONE, ""
    if stopped:
        return Ending.STOPPED, "stopped"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix(OWN) for line in lines if line.startswith(OWN)]
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ": the system may have been short of memory" if -code == signal.SIGKILL else ""
        return Ending.KILLED, f"its process was ended by {name}{hint}"
    if code in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        return Ending.KILLED, "its process was asked to end by the system"
    return Ending.FAILED, (said or lines or [f"ended with code {code} and no word"])[-1]
