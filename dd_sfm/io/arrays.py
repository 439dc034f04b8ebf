"""Arrays in NumPy's files, .npy and .npz, as the package writes them: read from several threads at once.

``numpy.load`` takes the head of an array for an expression of Python's and parses that. With Python 3.11 the parser
fails once in a while where several threads are in it, so the head, which is always of the same form, is read without.
"""

import re
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
HEAD = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d*)', 'fortran_order': (True|False), 'shape': \(((?:\d+,? ?)*)\), \}\s*"
)
"""A type of numbers or text, the order, and the size along each axis."""


def read_array(path: Path) -> NDArray[Any]:
    """The array in a .npy file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else, or ends early.
    """
    with path.open("rb") as file:
        return _read(file, str(path))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz file by name.

    Raises:
        OSError: If it cannot be read.
        BadZipFile: If it is damaged.
        ValueError: If something in it is no array of numbers or text, or ends early.
    """
    with ZipFile(path) as archive:
        found = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                found[name.removesuffix(".npy")] = _read(cast(BinaryIO, file), name)
        return found


def _read(file: BinaryIO, name: str) -> NDArray[Any]:
    start = file.read(8)
    if not start.startswith(MAGIC) or len(start) < 8:
        raise ValueError(f"{name} is no array")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    head = HEAD.fullmatch(file.read(length).decode("latin1"))
    if head is None or head[1].endswith("O"):
        raise ValueError(f"{name} is an array of something else than numbers or text")
    shape = tuple(int(size) for size in re.findall(r"\d+", head[3]))
    array = np.empty(shape, np.dtype(head[1]), order="F" if head[2] == "True" else "C")
    flat = array.ravel(order="A").view(np.uint8) if array.size and array.dtype.itemsize else np.empty(0, np.uint8)
    if _fill(file, flat.data) < len(flat):
        raise ValueError(f"{name} ends early")
    return array


def _fill(file: BinaryIO, into: memoryview) -> int:
    """Read bytes until there is no room or no more of them; returns how many."""
    done = 0
    while done < len(into) and (count := cast(Any, file).readinto(into[done:])):
        done += count
    return done
