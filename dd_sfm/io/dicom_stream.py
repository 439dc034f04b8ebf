"""Videos within DICOM files: the stream of MPEG-2, MPEG-4 or HEVC, copied out for the decoder."""

import struct
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from dd_sfm.errors import InputError
from dd_sfm.io.dicom_header import without_messages

ITEM = b"\xfe\xff\x00\xe0"
UNDEFINED = 0xFFFFFFFF
CHUNK = 1 << 22
OPEN_FILES = Path("/proc/self/fd")
"""Where Linux shows the open files of a process: what is opened there is the same file, from its beginning."""
RECENT = 64
"""Copies that are kept for when their video is opened again: a run opens each of its sources several times."""


@dataclass(frozen=True)
class CopiedStream:
    """The copy of a video, at ``path`` as long as this object is held."""

    path: Path


def extract_stream(path: Path) -> CopiedStream:
    """Copy the video of a DICOM file, and nothing else of it, to a temporary file; a copy that is held is used again.

    Where the system shows open files as paths the file has no name in any folder: it goes however the process ends.

    Raises:
        InputError: If it cannot be found or copied.
    """
    stat = path.stat()
    return _extract(path.absolute(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=RECENT)
def _extract(path: Path, _size: int, _modified: int) -> CopiedStream:
    from pydicom import dcmread

    with ExitStack() as unless_kept:
        try:
            out, place = _temporary()
            unless_kept.callback(_remove, out, place)
            with path.open("rb") as file:
                with without_messages():
                    dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
                for start, length in _fragments(file):
                    _copy(file, start, length, out)
            out.flush()
        except OSError as error:
            folder = tempfile.tempdir or "the folder of temporary files"
            raise InputError(
                f"{path}: its video cannot be copied to {folder} ({error.strerror}); expected room there, or in "
                "another folder by TMPDIR"
            ) from error
        if not out.tell():
            raise InputError(f"{path}: a DICOM video whose stream is not there; expected a whole file")
        unless_kept.pop_all()
    copied = CopiedStream(place)
    weakref.finalize(copied, _remove, out, place)
    return copied


def _temporary() -> tuple[BinaryIO, Path]:
    """A temporary file, and a path at which it can be opened again as long as it is held open."""
    if OPEN_FILES.is_dir():
        nameless: BinaryIO = tempfile.TemporaryFile(prefix="dd-sfm-")  # noqa: SIM115 - held, not closed
        return nameless, OPEN_FILES / str(nameless.fileno())
    with tempfile.NamedTemporaryFile(prefix="dd-sfm-", delete=False) as made:
        named = Path(made.name)
    return named.open("wb"), named


def _remove(file: BinaryIO, place: Path) -> None:
    """Close a temporary file, and remove it where it has a name."""
    file.close()
    if not isinstance(file.name, int):
        place.unlink(missing_ok=True)


def _fragments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Place and length of the parts of the stream, from the element of the pixel data on."""
    # Tag, kind, two bytes without meaning, length: compressed pixel data are always explicit and little-endian.
    (length,) = struct.unpack("<8xI", file.read(12).ljust(12, b"\0"))
    if length != UNDEFINED:
        yield file.tell(), length
        return
    is_table = True
    while True:
        head = file.read(8)
        # The end of the sequence, or that of a file cut short, whose video is read as far as it goes.
        if len(head) < 8 or not head.startswith(ITEM):
            return
        (length,) = struct.unpack("<4xI", head)
        start = file.tell()
        if not is_table:
            yield start, length
        is_table = False
        file.seek(start + length)


def _copy(file: BinaryIO, start: int, length: int, out: BinaryIO) -> None:
    file.seek(start)
    while length > 0:
        data = file.read(min(CHUNK, length))
        if not data:
            return
        out.write(data)
        length -= len(data)
