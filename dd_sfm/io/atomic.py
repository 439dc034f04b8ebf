"""Files that are either complete or not there: written to a temporary name beside the target, then renamed."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dd_sfm.errors import OutputError


def output_error(path: Path, error: OSError) -> OutputError:
    """The one message for every file that cannot be written."""
    if error.errno == errno.ENOSPC:
        return OutputError(
            f"{path}: the disk is full; free some space and repeat the command, finished stages are kept"
        )
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another output folder")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to: it takes its place in the end, and is gone whatever stops it."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        # Not the last word on what went wrong.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OutputError: If it cannot be written; an older version is then still there.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, content: str) -> None:
    """Write text as UTF-8, atomically; see :func:`write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON with an indent of 2, atomically; see :func:`write_bytes`."""
    write_text(path, json.dumps(content, indent=2) + "\n")
