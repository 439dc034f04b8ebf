"""COLMAP without its handler of SIGTERM, which prints a stack as if something had crashed: Python's own is put back.

Every module that imports pycolmap imports this one or ``colmap_database``, so that it is done before any work.
"""

import signal
import threading

import pycolmap  # noqa: F401  (sets the handler)

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
