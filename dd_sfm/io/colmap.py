"""Imports COLMAP and leaves the handlers of signals as they were.

COLMAP's logging library installs handlers of its own when it is imported, among them one of SIGTERM that prints a
stack as if something had crashed. Python cannot put back a handler from a thread other than the main one, nor one that
was not set by Python; the C library can. Every module that uses COLMAP imports ``pycolmap`` from here.
"""

import ctypes
import signal
import sys

KEPT = (signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS)
ACTION_BYTES = 512
"""More than ``struct sigaction`` takes on any platform."""


def _actions() -> dict[int, ctypes.Array[ctypes.c_char]]:
    """What the process does at each signal, as the C library has it."""
    found = {}
    for number in KEPT:
        action = ctypes.create_string_buffer(ACTION_BYTES)
        if _C.sigaction(int(number), None, action) == 0:
            found[int(number)] = action
    return found


def _restore(actions: dict[int, ctypes.Array[ctypes.c_char]]) -> None:
    for number, action in actions.items():
        _C.sigaction(number, action, None)


_C = ctypes.CDLL(None)
_before = _actions() if "pycolmap" not in sys.modules else {}
try:
    import pycolmap as pycolmap
finally:
    _restore(_before)
