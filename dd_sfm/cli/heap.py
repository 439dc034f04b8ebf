"""How the C library keeps memory that is freed: a setting of the whole process, so the command line's alone."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names in glibc's malloc.h."""
LARGE_BYTES = 12 << 20
KEPT_BYTES = 64 << 20


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
