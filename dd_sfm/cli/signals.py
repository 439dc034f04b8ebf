"""Signals, which belong to the command line: the library neither sets nor needs a handler."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dd_sfm.errors import Terminated

STOPPING = (signal.SIGINT, signal.SIGTERM)
END = b"\0"


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
    """Print a line at the first signal that stops the work; it holds until it reads the number that no signal has."""
    told, numbers = False, b""
    while END[0] not in numbers:
        numbers = os.read(reading, 64)
        if not told and any(number in STOPPING for number in numbers):
            told = True
            # On a terminal a bar may stand in the line.
            print("\nstopping ..." if sys.stderr.isatty() else "stopping ...", file=sys.stderr, flush=True)
