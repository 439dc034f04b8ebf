"""Memory of the whole process, which is the command line's alone: how it is kept, and whether it is limited."""

import ctypes
import os
import resource
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names in glibc's malloc.h."""
LARGE_BYTES = 12 << 20
KEPT_BYTES = 64 << 20
LIBRARIES_BYTES, THREAD_BYTES = 2_500_000_000, 250_000_000
"""Of address space: what the libraries reserve before any work, and for each core."""


def give_back_large_blocks() -> None:
    """Let arrays of many megabytes be given back to the system when they are freed.

    By itself glibc learns from the first large array that is freed to take all further ones of up to 32 MB from the
    heap, where small ones that live on keep it from shrinking.
    Smaller arrays stay there, as giving them back and forth takes time. Does nothing with other C libraries.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)


def address_space_warning() -> str:
    """What to say where a limit of address space leaves the libraries no room; "" where there is none.

    They may end the process themselves then, by a line of their own or none, before anything could be told.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    need = LIBRARIES_BYTES + THREAD_BYTES * len(os.sched_getaffinity(0))
    if limit == resource.RLIM_INFINITY or limit >= need:
        return ""
    return (
        f"ulimit -v: {limit / 1e9:.2f} GB of address space; the libraries alone reserve some {need / 1e9:.1f} GB and "
        "may end for want of memory. Raise it, or limit the memory in use by a control group instead"
    )
