"""Files that are either complete or not there: written to a temporary name beside the target, then renamed."""

import errno
import io
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.errors import OutputError


def output_error(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be written."""
    if error.errno == errno.ENOSPC:
        return OutputError(
            f"{path}: the disk is full; free some space and repeat the command, finished stages are kept"
        )
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another output folder")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``, which replaces ``path`` in the end and is removed on any error."""
    partial = _partial(path)
    with suppress(OSError):
        # What is written would go where a link leads.
        if partial.is_symlink():
            partial.unlink()
    try:
        yield partial
        partial.replace(path)
    finally:
        # An error here must not hide the one that ended the work.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OutputError: If it cannot be written; an older version is then still there.
    """
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file atomically, part by part, so that only one of them is in memory; see :func:`write_bytes`."""
    try:
        with atomic_file(path) as partial, partial.open("wb") as file:
            for part in parts:
                file.write(part)
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, content: str) -> None:
    """Write text as UTF-8, atomically; see :func:`write_bytes`."""
    write_bytes(path, content.encode())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy, atomically; see :func:`write_bytes`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write JSON with an indent of 2, atomically; see :func:`json_content` and :func:`write_bytes`."""
    write_text(path, json.dumps(json_content(content), indent=2, allow_nan=False) + "\n")


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
