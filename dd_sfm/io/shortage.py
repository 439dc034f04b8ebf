"""What a machine runs out of while dd-sfm works: memory, room on the disk, threads, open files.

Libraries report the same shortage by errors of many kinds; here each becomes one line that names it and what helps.
"""

import errno
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dd_sfm.errors import DDSfMError, ShortageError, one_line

MEMORY = re.compile(
    r"bad_alloc|bad_array_new_length|cannot allocate memory|can't allocate memory|not enough memory|out of memory|"
    r"insufficient memory|unable to allocate|failed to allocate|memory allocation|failed to map segment|"
    r"cannot apply additional memory protection|could not create a (primitive|memory)",
    re.IGNORECASE,
)
GPU = re.compile(r"CUDA out of memory|CUDA_ERROR_OUT_OF_MEMORY|ALLOC_FAILED|CUDA error: out of memory", re.IGNORECASE)
THREADS = re.compile(r"can't start new thread|resource temporarily unavailable|resource unavailable", re.IGNORECASE)
DISK = re.compile(r"no space left|disk is full|disk full|disk I/O error|quota exceeded|file too large", re.IGNORECASE)
HELPER = re.compile(
    r"DataLoader worker .*(exited unexpectedly|is killed by signal)|process pool was terminated abruptly", re.DOTALL
)
FILES = re.compile(r"too many open files", re.IGNORECASE)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
MOST_SHOWN = 160
"""Characters of what a library said."""
HARDLY_FREE = 500_000
"""Bytes below which a disk is taken for full when a library fails."""
A_PICTURE = 100_000_000
"""Bytes that decoding a picture or opening a file takes at most, as a rule."""
MORE_ROOM = "free some space and repeat the command"
STAGES_KEPT = "finished stages are kept"
LESS_WORK = (
    "free memory or raise its limit, or let less be in memory: --quality preview, fewer frames (--every, --end), "
    "--set runtime.threads=1"
)


def shortage(error: BaseException, where: str, less: str = LESS_WORK) -> ShortageError | None:
    """The error for a shortage behind an error, however a library told of it; None for any other.

    Args:
        error: What ended the work.
        where: What was being done, and where; the message begins with it if it is not empty.
        less: What to do where memory is short.
    """
    for one in _chain(error):
        text = _text(one, less)
        if text is not None:
            said = _said(one)
            kept = f", {STAGES_KEPT}" if text[1] == MORE_ROOM and where else ""
            return ShortageError(f"{where}: {text[0]} ({said}); {text[1]}{kept}".removeprefix(": "))
    return None


def full_disk(error: BaseException, where: str, folder: Path) -> ShortageError | None:
    """The error for a disk that is found full after some other error: compiled libraries seldom name it as a reason.

    Args:
        error: What ended the work.
        where: See :func:`shortage`.
        folder: What was written to.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    if free > HARDLY_FREE:
        return None
    said = f"No space left: the disk is full, {free / 1000:.0f} kB free ({_said(error)})"
    return ShortageError(f"{where}: {said}; {MORE_ROOM}, {STAGES_KEPT}")


@contextmanager
def telling_full_disk(where: str, folder: Path) -> Iterator[None]:
    """Tell a full disk from other failures of a library, before what it has written so far is removed.

    Opening a database, for one, takes room beside it; for want of that COLMAP only says that it found no way to do so.

    Args:
        where: See :func:`shortage`.
        folder: What is written to.

    Raises:
        ShortageError: If the work fails and the disk is full.
    """
    try:
        yield
    except RuntimeError as error:
        found = full_disk(error, where, folder)
        if found is None:
            raise
        raise found from error


def raise_if_short(where: str, error: BaseException | None = None) -> None:
    """Tell a file that this process has not the means to read from one that is damaged.

    Decoders report the want of memory like damage, if at all, and a damaged file may ask for any amount of it: so it is
    tried whether there is some.

    Args:
        where: The file.
        error: What its reader raised, if it did.

    Raises:
        ShortageError: If the process has not the memory for a picture, or no room for an open file.
    """
    found = shortage(error, where) if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS else None
    if found is not None:
        raise found from error
    if isinstance(error, FileNotFoundError | PermissionError):
        return
    try:
        np.empty(A_PICTURE, np.uint8)
    except MemoryError as memory:
        raise ShortageError(f"{where}: not enough memory; {LESS_WORK}") from memory


def _said(error: BaseException) -> str:
    """What a library said, in a line: of several the one that speaks of the shortage."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    patterns = (MEMORY, HELPER, GPU, THREADS, DISK, FILES)
    line = one_line(next((line for line in lines if any(p.search(line) for p in patterns)), lines[0]))
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}..."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _text(error: BaseException, less: str) -> tuple[str, str] | None:
    """What was found and what to do, ``less`` where memory is short; None where it is no shortage."""
    if isinstance(error, DDSfMError):
        return None
    said, number = str(error), error.errno if isinstance(error, OSError) else None
    # By its name, as torch may not be there yet.
    if type(error).__name__ == "OutOfMemoryError" or (GPU.search(said) and not isinstance(error, OSError)):
        return "the GPU has not enough free memory", (
            "end what else uses it, or take --quality preview, fewer frames, or --device cpu"
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _says(MEMORY, error):
        return "not enough memory", less
    if _says(HELPER, error):
        return "a process of this command was ended, as the system does when it is short of memory", less
    if number == errno.EAGAIN or _says(THREADS, error):
        return "not enough memory, or room for processes, to start a thread", (
            "raise the limit (ulimit -u, ulimit -v), or use fewer: --set runtime.threads=1"
        )
    if number in NO_DESCRIPTORS or _says(FILES, error):
        return "too many open files", "raise the limit: ulimit -n 4096"
    if number == errno.EIO:
        return f"the disk or the network fails{_named(error)}", "see what the system says of it (dmesg), and repeat"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _says(DISK, error):
        return f"no space left on the disk{_named(error)}", MORE_ROOM
    return None


def _named(error: BaseException) -> str:
    return f": {error.filename}" if isinstance(error, OSError) and error.filename else ""


def _says(pattern: re.Pattern[str], error: BaseException) -> bool:
    """Whether an error of a library, which has no kinds of its own for this, speaks of a shortage."""
    kinds = RuntimeError | ImportError | OSError | SystemError | sqlite3.Error
    return isinstance(error, kinds) and bool(pattern.search(str(error)))
