"""Files that are either complete or not there: written to a temporary name beside the target, then renamed.

Before it gets its name a file is on the disk, so that it is whole after a loss of power, too.
"""

import errno
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.errors import OutputError
from dd_sfm.io.shortage import shortage

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EFBIG: "files may not be as large here",
}
"""What the system means by errors of writing that more room mends."""
SYNC_THREADS = 8
"""File systems write at once what several threads wait for."""
NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""What file systems answer that cannot be told to write at once."""


def output_error(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be written."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return OutputError(f"{path}: {reason}: {FULL[error.errno]}; free some space and repeat the command")
    lacks = shortage(error, str(path))
    if lacks is not None:
        # Another folder would not help.
        return OutputError(str(lacks))
    gone = ", or repeat the command if this one was removed meanwhile" if error.errno == errno.ENOENT else ""
    return OutputError(f"{path}: cannot be written ({reason}); choose another output folder{gone}")


def make_folder(path: Path, *, parents: bool = True) -> None:
    """Make a folder where it is missing.

    Args:
        path: The folder.
        parents: Whether those above it are made, too; without them, one that was removed meanwhile is an error.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary file beside ``path``, which replaces ``path`` in the end and is removed on any error.

    Args:
        path: The file.
        durable: Whether it is on the disk before it gets its name. Of many files that a record will list it may be left
            to :func:`sync_all` with less waiting; until then their content is not to be believed after a loss of power.
    """
    partial = _partial(path)
    with suppress(OSError):
        # What is written would go where a link leads.
        if partial.is_symlink():
            partial.unlink()
    try:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
        if durable:
            sync(path.parent)
    finally:
        # An error here must not hide the one that ended the work.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk.

    Raises:
        OSError: If it cannot be written there.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def sync_all(top: Path, files: Iterable[Path]) -> None:
    """Wait until files under a folder, and the folders in which they lie, are on the disk.

    Raises:
        OutputError: If one cannot be written there.
    """
    paths = list(files)
    folders = {top / folder for path in paths for folder in path.relative_to(top).parents}

    def wait(path: Path) -> None:
        try:
            sync(path)
        except OSError as error:
            raise output_error(path, error) from error

    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        for _ in pool.map(wait, [*paths, *sorted(folders)]):
            pass


def check_writable(path: Path) -> None:
    """Check that a file can be written, before the work that makes it; nothing is left behind.

    Raises:
        OutputError: If it cannot.
    """
    partial = _partial(path)
    try:
        try:
            partial.open("xb").close()
        except FileExistsError:
            # Left by a break, or being written: it stays as it is.
            partial.open("ab").close()
        else:
            partial.unlink()
    except OSError as error:
        raise output_error(path, error) from error


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def write_bytes(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Write a file atomically; ``durable``: see :func:`atomic_file`.

    Raises:
        OutputError: If it cannot be written; an older version is then still there.
    """
    write_parts(path, [content], durable=durable)


def write_parts(path: Path, parts: Iterable[bytes | memoryview], *, durable: bool = True) -> None:
    """Write a file atomically, part by part, so that only one of them is in memory; see :func:`write_bytes`."""
    try:
        with atomic_file(path, durable=durable) as partial, partial.open("wb") as file:
            for part in parts:
                file.write(part)
    except OSError as error:
        raise output_error(path, error) from error


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files, all of them or none; the first one, which tells that the others are there, comes last.

    Raises:
        OutputError: If one cannot be written; older versions of all are then still there.
    """
    where = next(iter(files))
    try:
        with ExitStack() as stack:
            for where, content in files.items():
                stack.enter_context(atomic_file(where)).write_bytes(content)
    except OSError as error:
        raise output_error(where, error) from error


def text_bytes(content: str) -> bytes:
    """Text as UTF-8; the bytes of a file's name that are no text stand as escapes, such as ``\\udce4``."""
    return content.encode(errors="backslashreplace")


def write_text(path: Path, content: str) -> None:
    """Write text, atomically; see :func:`text_bytes` and :func:`write_bytes`."""
    write_bytes(path, text_bytes(content))


def write_array(path: Path, array: np.ndarray, *, durable: bool = True) -> None:
    """Write an array as .npy, atomically; see :func:`write_bytes`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue(), durable=durable)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with an indent of 2, atomically; see :func:`json_text` and :func:`write_bytes`."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """JSON with an indent of 2; see :func:`json_content`."""
    return json.dumps(json_content(content), indent=2, allow_nan=False) + "\n"


def json_content(value: Any) -> Any:
    """The same value as JSON can hold it: arrays are lists, and numbers that are not finite are null.

    JSON has no NaN and infinity, and most readers refuse files that hold Python's words for them.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): json_content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_content(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
