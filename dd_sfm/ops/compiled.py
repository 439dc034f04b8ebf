"""How loops are compiled."""

from collections.abc import Callable
from typing import Any

import numba
from numba import njit


def set_threads(count: int) -> None:
    """Use so many threads in the loops of :func:`compiled`."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop for all cores. Not to be called from two threads at once."""
    return _compile(function, parallel=True)


def compiled_for_workers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop for one core that lets other threads of the process run meanwhile."""
    return _compile(function, nogil=True)


def _compile(function: Callable[..., Any], *, parallel: bool = False, nogil: bool = False) -> Callable[..., Any]:
    """Kept on disk where a folder may be written to, else compiled anew in every process."""
    try:
        return njit(fastmath=True, cache=True, parallel=parallel, nogil=nogil)(function)
    except RuntimeError:
        # numba finds neither the package's folder nor the user's cache writable: a system-wide install, no home.
        return njit(fastmath=True, parallel=parallel, nogil=nogil)(function)
