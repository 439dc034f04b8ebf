"""Triangles of legacy VTK files (.vtk), as 3D Slicer, ParaView and VTK write them: ASCII or binary, versions 1 to 5.

meshio, which reads many kinds of meshes, does not read the POLYDATA that surfaces are stored as, and VTK itself is
larger than all else that this package needs for it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.structures import FloatArray, IntArray

TYPES = {
    "float": ">f4", "double": ">f8", "int": ">i4", "unsigned_int": ">u4", "long": ">i8", "unsigned_long": ">u8",
    "short": ">i2", "unsigned_short": ">u2", "char": ">i1", "unsigned_char": ">u1", "vtktypeint64": ">i8",
    "vtktypeuint64": ">u8", "vtktypeint32": ">i4", "vtkidtype": ">i8",
}  # fmt: skip
MOST_LINE = 1000
TRIANGLE, STRIP, POLYGON, QUAD = 5, 6, 7, 9
"""Numbers of cells of an UNSTRUCTURED_GRID that lie in a surface."""


class _Content:
    """A file's bytes and how far they are read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.is_text = content, 0, False

    def line(self) -> str | None:
        """The next line that holds something; None at the end."""
        while self.at < len(self.content):
            end = self.content.find(b"\n", self.at)
            end = len(self.content) if end < 0 else end
            text = self.content[self.at : min(end, self.at + MOST_LINE)].decode("latin1").strip()
            self.at = end + 1
            if text:
                return text
        return None

    def numbers(self, count: int, kind: str) -> NDArray[Any]:
        """The next numbers of a type.

        Raises:
            ValueError: If there are fewer, or the type is unknown.
        """
        if kind.lower() not in TYPES:
            raise ValueError(f"numbers of the type {kind}")
        dtype = np.dtype(TYPES[kind.lower()])
        if count < 0 or count > len(self.content):
            raise ValueError(f"{count} numbers in {len(self.content)} bytes")
        if self.is_text:
            words = re.compile(rb"\S+").finditer(self.content, self.at)
            found = [word for word, _ in zip(words, range(count), strict=False)]
            if len(found) < count:
                raise ValueError("it ends early")
            self.at = found[-1].end() if found else self.at
            return np.array([float(word[0]) for word in found]).astype(dtype.newbyteorder("="))
        size = count * dtype.itemsize
        if self.at + size > len(self.content):
            raise ValueError("it ends early")
        values = np.frombuffer(self.content, dtype, count, self.at).astype(dtype.newbyteorder("="))
        self.at += size
        return values


def read_vtk(path: Path) -> tuple[FloatArray, IntArray]:
    """Read vertices (V, 3) and triangles (F, 3); larger polygons and strips are split into triangles.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no legacy VTK file with triangles.
    """
    content = _Content(regular(path).read_bytes())
    if not content.content.startswith(b"# vtk DataFile"):
        raise ValueError("no legacy VTK file; XML files end in .vtp")
    content.at = content.content.find(b"\n") + 1
    # The title may be an empty line.
    content.at = content.content.find(b"\n", content.at) + 1
    content.is_text = (content.line() or "").upper() == "ASCII"
    vertices: FloatArray | None = None
    cells: dict[str, tuple[IntArray, IntArray]] = {}
    kinds: IntArray | None = None
    while (line := content.line()) is not None:
        words = line.split()
        name = words[0].upper()
        if name in ("POINT_DATA", "CELL_DATA") and vertices is not None:
            break
        if name == "DATASET" and words[-1].upper() not in ("POLYDATA", "UNSTRUCTURED_GRID"):
            raise ValueError(f"a dataset of the kind {words[-1]}, which is no mesh")
        if name == "POINTS" and len(words) > 2:
            vertices = content.numbers(3 * int(words[1]), words[2]).reshape(-1, 3).astype(np.float64)
        elif name in ("POLYGONS", "TRIANGLE_STRIPS", "CELLS", "LINES", "VERTICES") and len(words) > 2:
            cells[name] = _read_cells(content, int(words[1]), int(words[2]))
        elif name == "CELL_TYPES" and len(words) > 1:
            kinds = content.numbers(int(words[1]), "int").astype(np.int64)
    if vertices is None:
        raise ValueError("no points in it")
    faces = triangles(cells, kinds)
    if not len(faces):
        raise ValueError("no triangle in it")
    return vertices, faces


def _read_cells(content: _Content, count: int, size: int) -> tuple[IntArray, IntArray]:
    """Cells as the corners of all one after the other, and where each begins and ends (C + 1,)."""
    before = content.at
    words = (content.line() or "").split()
    if words and words[0].upper() == "OFFSETS":
        # Version 5.1: the count is that of the offsets.
        offsets = content.numbers(count, words[1]).astype(np.int64)
        words = (content.line() or "").split()
        if len(words) < 2 or words[0].upper() != "CONNECTIVITY":
            raise ValueError("cells without CONNECTIVITY")
        corners = content.numbers(size, words[1]).astype(np.int64)
    else:
        content.at = before
        flat = content.numbers(size, "int").astype(np.int64)
        starts, at = [], 0
        for _ in range(count):
            if at >= len(flat) or flat[at] < 0:
                raise ValueError("cells that do not fit their number")
            starts.append(at)
            at += int(flat[at]) + 1
        keep = np.ones(len(flat), bool)
        keep[starts] = False
        corners = flat[keep]
        offsets = np.concatenate([[0], np.cumsum(flat[starts])]).astype(np.int64)
    if len(offsets) and (offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] > len(corners)):
        raise ValueError("cells that do not fit their corners")
    return corners, offsets


def triangles(cells: dict[str, tuple[IntArray, IntArray]], kinds: IntArray | None) -> IntArray:
    """Triangles (F, 3) int64 of all cells that lie in a surface.

    Args:
        cells: By the name of their group in a legacy file: the corners of all one after the other, and where each
            begins and ends (C + 1,).
        kinds: Numbers (C,) of the kinds of cells of an UNSTRUCTURED_GRID; None where there are none.

    Raises:
        ValueError: If kinds are missing.
    """
    found = [np.zeros((0, 3), np.int64)]
    for name, (corners, offsets) in cells.items():
        length, number = np.diff(offsets), np.arange(max(len(offsets) - 1, 0))
        strip = np.full(len(length), name == "TRIANGLE_STRIPS")
        if name == "CELLS":
            if kinds is None or len(kinds) != len(length):
                raise ValueError("cells without their types")
            number, strip = number[np.isin(kinds, (TRIANGLE, STRIP, POLYGON, QUAD))], kinds == STRIP
        elif name not in ("POLYGONS", "TRIANGLE_STRIPS"):
            continue
        count = np.maximum(length[number] - 2, 0)
        cell = np.repeat(number, count)
        corner = offsets[cell] + np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count) + 1
        first = np.where(strip[cell], corner - 1, offsets[cell])
        found.append(np.stack([corners[first], corners[corner], corners[corner + 1]], 1))
    return np.concatenate(found)
