"""Signals, which belong to the command line: the library neither sets nor needs a handler."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dd_sfm.errors import Terminated


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let ``kill`` and a batch system's time limit end the work as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _terminate(number: int, frame: object) -> None:
    raise Terminated
