"""Signals, which belong to the command line: the library neither sets nor needs a handler."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from dd_sfm.errors import Terminated

STOPPING = (signal.SIGINT, signal.SIGTERM)
END = b"\0"
SAME_S = 0.3
"""Within so long a second signal is the first one once more, passed on by a program that has started this one."""


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let ``kill`` and a batch system's time limit end the work as Ctrl-C does; either is confirmed at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with _confirmed():
            yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


@contextmanager
def _confirmed() -> Iterator[None]:
    """Print that a signal came as soon as it does: Python's handlers wait for compiled code to return."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_confirm, args=(reading,), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        # Closing alone would not do: processes that were forked meanwhile have the pipe's end open, too.
        os.write(writing, END)
        thread.join()
        os.close(writing)
        os.close(reading)


def _confirm(reading: int) -> None:
    """Print a line at the first signal that stops the work, and end the process at the second one.

    Files are whole at any moment, so that nothing has to be waited for. It holds until it reads the number that no
    signal has.
    """
    first_s: float | None = None
    numbers = b""
    while END[0] not in numbers:
        numbers = os.read(reading, 64)
        for number in numbers:
            if number not in STOPPING:
                continue
            if first_s is None:
                first_s = time.monotonic()
                _tell("stopping ...")
            elif time.monotonic() - first_s > SAME_S:
                _tell("dd-sfm: ended at once; what is finished is kept. Repeat the command to go on")
                _end_children()
                os._exit(128 + number)


def _tell(text: str) -> None:
    # On a terminal a bar may stand in the line.
    print(f"\n{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def _end_children() -> None:
    """Kill the processes that this one has started: some are in groups of their own, which Ctrl-C does not reach."""
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
