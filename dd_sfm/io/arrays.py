"""Arrays in NumPy's files, .npy and .npz, as the package writes them: read from several threads at once.

``numpy.load`` takes the head of an array for an expression of Python's and parses that. With Python 3.11 the parser
fails once in a while where several threads are in it, so the head, which is always of the same form, is read without.
"""

import math
import os
import re
import zlib
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular

MAGIC = b"\x93NUMPY"
HEAD = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d*)', 'fortran_order': (True|False), 'shape': \(((?:\d+(?:, ?\d+)*,?)?)\), \}\s*"
)
"""A type of numbers or text, the order, and the size along each axis."""
DAMAGED = EOFError, LZMAError, NotImplementedError, RuntimeError, zlib.error
"""What reading a damaged archive raises, beside the errors that callers expect."""
READ_ERRORS = OSError, EOFError, ValueError, KeyError, BadZipFile
"""What :func:`read_array`, :func:`read_arrays` and the look-up of an array that is missing raise."""
MOST_HEAD = 10_000
"""Bytes of a head."""
PACKED_RATIO, UNPACKED_FREE = 200, 64_000_000
"""An archive that unpacks to more bytes than the second holds at most so many times what it takes itself."""


def read_array(path: Path) -> NDArray[Any]:
    """The array in a .npy file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else, or ends early.
    """
    with regular(path).open("rb") as file:
        return _read(file, str(path), os.fstat(file.fileno()).st_size)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz file by name.

    Raises:
        OSError: If it cannot be read.
        BadZipFile: If it is damaged.
        ValueError: If something in it is no array of numbers or text, or ends early, or if the archive unpacks to far
            more than arrays of measurements do.
    """
    most = max(UNPACKED_FREE, PACKED_RATIO * regular(path).stat().st_size)
    try:
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > most:
                raise ValueError(f"it unpacks to more than {PACKED_RATIO} times its size")
            found = {}
            for member in archive.infolist():
                name = member.filename
                with archive.open(member) as file:
                    found[name.removesuffix(".npy")] = _read(cast(BinaryIO, file), name, member.file_size)
            return found
    except DAMAGED as error:
        raise BadZipFile(f"{path} is damaged ({error})") from error


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False) -> None:
    """Write arrays as .npz, as NumPy does, but for the time in it: the same arrays give the same bytes.

    A clock that stands before 1980, as on machines without a battery, would be refused.
    """
    with ZipFile(file, "w", ZIP_DEFLATED if compressed else ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = ZipInfo(f"{name}.npy")
            member.compress_type = archive.compression
            member.external_attr = 0o600 << 16
            with archive.open(member, "w", force_zip64=True) as inside:
                np.lib.format.write_array(inside, np.asanyarray(array), allow_pickle=False)


def check_archive(path: Path) -> None:
    """See that an .npz file is whole, by the checksums in it.

    Raises:
        OSError: If it cannot be read.
        BadZipFile: If it is damaged.
    """
    try:
        with ZipFile(path) as archive:
            name = archive.testzip()
    except (*DAMAGED, ValueError) as error:
        raise BadZipFile(f"{path} is damaged ({error})") from error
    if name is not None:
        raise BadZipFile(f"{path} is damaged ({name})")


def _read(file: BinaryIO, name: str, file_size: int) -> NDArray[Any]:
    """The array in a file of so many bytes, which are what is set aside for it at most."""
    start = file.read(8)
    if not start.startswith(MAGIC) or len(start) < 8:
        raise ValueError(f"{name} is no array")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    head = HEAD.fullmatch(file.read(min(length, MOST_HEAD)).decode("latin1"))
    one = None if head is None else _one_of(head[1])
    if head is None or one is None:
        raise ValueError(f"{name} is an array of something else than numbers or text")
    shape = tuple(int(size) for size in re.findall(r"\d+", head[3]))
    if math.prod(shape) * one.nbytes > file_size - file.tell():
        raise ValueError(f"{name} ends early")
    array = np.empty(shape, one.dtype, order="F" if head[2] == "True" else "C")
    flat = array.ravel(order="A").view(np.uint8) if array.size and array.dtype.itemsize else np.empty(0, np.uint8)
    if _fill(file, flat.data) < len(flat):
        raise ValueError(f"{name} ends early")
    return array


def _one_of(kind: str) -> NDArray[Any] | None:
    """An array of one element of a kind; None for a kind that NumPy does not know, or that is no number or text."""
    try:
        one: NDArray[Any] = np.empty(1, np.dtype(kind))
    except TypeError:
        return None
    return one if one.dtype.kind in "biufcUS" else None


def _fill(file: BinaryIO, into: memoryview) -> int:
    """Read bytes until there is no room or no more of them; returns how many."""
    done = 0
    while done < len(into) and (count := cast(Any, file).readinto(into[done:])):
        done += count
    return done
