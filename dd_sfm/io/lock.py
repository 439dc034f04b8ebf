"""A lock that lets one process write to a folder; the system releases it when the process ends."""

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
    """Hold the lock of a folder; fails at once if another process holds it.

    Raises:
        OutputError: If another process is, or the folder cannot be written.
    """
    descriptor = _open(folder)
    try:
        _acquire(descriptor, folder)
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def wait_for_lock(folder: Path) -> Iterator[int]:
    """Wait for the lock of a folder, and hold it; gives the file descriptor that holds it.

    A child process that inherits the descriptor keeps the lock until it ends, even if this process ends before.

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
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise output_error(path, error) from error


def _acquire(descriptor: int, folder: Path) -> None:
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
    """Warn of a network file system without locks: nothing keeps two processes apart there."""
    logger.warning("%s: no lock on this file system (%s)", folder, error.strerror)
