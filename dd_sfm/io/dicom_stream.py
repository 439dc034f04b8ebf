"""Videos within DICOM files: the stream of MPEG-2, MPEG-4 or HEVC, copied out for the decoder."""

import atexit
import struct
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from dd_sfm.errors import InputError
from dd_sfm.io.dicom_header import without_messages

ITEM = b"\xfe\xff\x00\xe0"
UNDEFINED = 0xFFFFFFFF
CHUNK = 1 << 22


def extract_stream(path: Path) -> Path:
    """Copy the video of a DICOM file, and nothing else of it, to a temporary file that goes when the process ends.

    Raises:
        InputError: If it cannot be found or copied.
    """
    stat = path.stat()
    return _extract(path.absolute(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _extract(path: Path, _size: int, _modified: int) -> Path:
    from pydicom import dcmread

    with tempfile.NamedTemporaryFile(prefix="dd-sfm-", delete=False) as out:
        copied = Path(out.name)
        atexit.register(copied.unlink, missing_ok=True)
        try:
            with path.open("rb") as file:
                with without_messages():
                    dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
                for start, length in _fragments(file):
                    _copy(file, start, length, out)
        except OSError as error:
            raise InputError(
                f"{path}: its video cannot be copied to {copied.parent} ({error.strerror}); expected room there, "
                "or in another folder by TMPDIR"
            ) from error
        if not out.tell():
            raise InputError(f"{path}: a DICOM video whose stream is not there; expected a whole file")
    return copied


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


def _copy(file: BinaryIO, start: int, length: int, out: "tempfile._TemporaryFileWrapper[bytes]") -> None:
    file.seek(start)
    while length > 0:
        data = file.read(min(CHUNK, length))
        if not data:
            return
        out.write(data)
        length -= len(data)
