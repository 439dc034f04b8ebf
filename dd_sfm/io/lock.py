"""One writer a folder: a lock that the system takes back when the process ends, however it ends."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import output_error

logger = logging.getLogger(__name__)

LOCK = ".dd-sfm.lock"
"""The file stays where it is: removing it would let a third process lock a new one while a second waits on the old."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that writes to a folder.

    Raises:
        OutputError: If another process is, or the folder cannot be written.
    """
    descriptor = _open(folder)
    try:
        _take(descriptor, folder)
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(folder: Path) -> Iterator[int]:
    """Work at a folder after the other processes that do: the file descriptor that holds the turn.

    A child process that inherits the descriptor keeps the turn until it ends, whatever becomes of this process.

    Raises:
        OutputError: If the folder cannot be written.
    """
    descriptor = _open(folder, make=True)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            _warn_of_no_lock(folder, error)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(folder: Path, *, make: bool = False) -> int:
    """The descriptor of a folder's lock; ``make``: also the folder, when it is missing."""
    path = folder / LOCK
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise output_error(path, error) from error


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        who = f"another dd-sfm (process {holder})" if holder else "another dd-sfm"
        raise OutputError(
            f"{folder}: {who} is writing to it; wait until it is done, or choose another folder with -o"
        ) from None
    except OSError as error:
        _warn_of_no_lock(folder, error)


def _warn_of_no_lock(folder: Path, error: OSError) -> None:
    """Some network file systems know no locks: there the user has to look out alone."""
    logger.warning("%s: no lock on this file system (%s)", folder, error.strerror)
