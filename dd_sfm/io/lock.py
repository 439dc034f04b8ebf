"""A lock that lets one process write to a folder; the system releases it when the process ends.

Network file systems may have no locks. There the file's content tells whether its process is still at work, as far as
that can be seen from the same machine.
"""

import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import output_error

logger = logging.getLogger(__name__)

TRIES = 3
MOST_NOTED = 400
"""Bytes of what the lock's file tells of its process."""
LOCK = ".dd-sfm.lock"
"""The file stays where it is: removing it would let a third process lock a new one while a second waits on the old.

Where nobody waits it may be removed, as whoever locks one that is no longer there sees that and tries again.
"""


_held: set[int] = set()


def _leave_to_parent() -> None:
    """Let go of what a forked process has inherited: otherwise it would hold the lock of a parent that was killed."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def locked(folder: Path, *, keep: bool = True, of: Path | None = None) -> Iterator[None]:
    """Hold the lock of a folder; fails at once if another process holds it.

    Args:
        folder: The folder.
        keep: Whether the lock's file stays.
        of: The folder that messages name, where that is another one.

    Raises:
        OutputError: If another process is, or the folder cannot be written.
    """
    descriptor = _open_locked(folder, of or folder)
    _held.add(descriptor)
    try:
        _note(descriptor, _identity(os.getpid()))
        try:
            yield
        finally:
            _note(descriptor, "")
            if not keep:
                with suppress(OSError):
                    (folder / LOCK).unlink()
    finally:
        _held.discard(descriptor)
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


def _open_locked(folder: Path, named: Path) -> int:
    """The descriptor that holds the lock; of a file that is still there once it is locked."""
    for left in reversed(range(TRIES)):
        descriptor = _open(folder)
        try:
            _acquire(descriptor, named)
            # Some file systems count no names: then the last try holds.
            is_there = os.fstat(descriptor).st_nlink > 0 or not left
        except BaseException:
            os.close(descriptor)
            raise
        if is_there:
            break
        os.close(descriptor)
    return descriptor


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
        raise _in_use(folder, _noted(descriptor)[:1]) from None
    except OSError as error:
        holder = _noted(descriptor)
        here = len(holder) == 3 and holder[2] == platform.node()
        if here and holder[0].isdecimal() and " ".join(holder) == _identity(int(holder[0])):
            raise _in_use(folder, holder[:1]) from None
        _warn_of_no_lock(folder, error, "" if here or len(holder) < 3 else f"process {holder[0]} on {holder[2]}")


def _in_use(folder: Path, holder: list[str]) -> OutputError:
    who = f"another dd-sfm (process {holder[0]})" if holder else "another dd-sfm"
    return OutputError(f"{folder}: {who} is writing to it; wait until it is done, or choose another folder with -o")


def _noted(descriptor: int) -> list[str]:
    """Process, its start and its machine, as the last writer noted them; fewer words by older versions."""
    return os.pread(descriptor, MOST_NOTED, 0).decode(errors="replace").split()


def _note(descriptor: int, text: str) -> None:
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _identity(process: int) -> str:
    """What tells a process from all others, also from a later one of the same number; "" where there is none."""
    try:
        # After the name, which may hold spaces: the ticks from the start of the machine to that of the process.
        start = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        start = "0" if process == os.getpid() else ""
    return f"{process} {start} {platform.node()}" if start else ""


def _warn_of_no_lock(folder: Path, error: OSError, other: str = "") -> None:
    """Warn of a network file system without locks: nothing keeps processes of two machines apart there."""
    more = f"; {other} was, or still is, writing to it" if other else ""
    text = "%s: no lock on this file system (%s)%s: let no other dd-sfm write to it at the same time"
    logger.warning(text, folder, error.strerror, more)
