"""Triangles of VTK's XML PolyData (.vtp), as VTK, ParaView and 3D Slicer write it.

Arrays are text, base64 in their place, or appended as base64 or raw bytes; whole, or in blocks that are compressed by
zlib or LZMA. VTK itself is larger than all else that this package needs for it.
"""

import lzma
import re
import zlib
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.io.vtk_file import triangles
from dd_sfm.structures import FloatArray, IntArray

TYPES = {
    "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4", "Int64": "i8",
    "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip
COMPRESSORS = ("vtkZLibDataCompressor", "vtkLZMADataCompressor")
MOST_EXPANSION = 100
"""Bytes that arrays may take, by those of the file: coordinates and corners never compress so well."""
MOST_MEMORY = 100_000_000
"""Of an LZMA stream, in bytes; VTK's take a tenth of that."""
CELLS = {"Polys": "POLYGONS", "Strips": "TRIANGLE_STRIPS"}
"""The groups of cells that lie in a surface, by the names that :func:`triangles` knows them by."""


@dataclass
class _File:
    """The arrays of a file: ``appended`` bytes behind the XML, ``starts`` of the arrays in them, how all are stored.

    ``left``: bytes that arrays may still take.
    """

    appended: memoryview
    is_base64: bool
    starts: list[int]
    order: Literal["<", ">"]
    header: NDArray[Any]
    compressor: str
    left: int

    def read(self, array: ElementTree.Element) -> NDArray[Any]:
        """The numbers of an array, in one row.

        Raises:
            ValueError: If they cannot be read.
        """
        kind, form = array.get("type", ""), array.get("format", "ascii")
        if kind not in TYPES:
            raise ValueError(f"numbers of the type {kind}")
        dtype = np.dtype(TYPES[kind])
        if form == "ascii":
            return _written_out(array.text or "", np.dtype(np.float64 if dtype.kind == "f" else np.int64))
        if form == "appended":
            start = int(array.get("offset", "-1"))
            if not 0 <= start < max(1, len(self.appended)):
                raise ValueError("an array begins beyond the end")
            content = self.appended[start:]
            if self.is_base64:
                end = min((other for other in self.starts if other > start), default=None)
                content = memoryview(_decoded(bytes(self.appended[start:end])))
        elif form == "binary":
            content = memoryview(_decoded((array.text or "").encode()))
        else:
            raise ValueError(f"an array of the format {form}")
        whole = self._expanded(content) if self.compressor else self._plain(content)
        if len(whole) % dtype.itemsize:
            raise ValueError("it ends early")
        return np.frombuffer(whole, dtype.newbyteorder(self.order)).astype(dtype)

    def _numbers(self, content: memoryview, count: int) -> list[int]:
        """The first numbers of an array's header."""
        if count > len(content) // self.header.itemsize:
            raise ValueError("it ends early")
        return [int(value) for value in np.frombuffer(content, self.header.dtype, count)]

    def _plain(self, content: memoryview) -> memoryview | bytes:
        (size,) = self._numbers(content, 1)
        begin = self.header.itemsize
        if size > len(content) - begin:
            raise ValueError("it ends early")
        self._take(size)
        return content[begin : begin + size]

    def _expanded(self, content: memoryview) -> memoryview | bytes:
        """Blocks of one size, the last of which may be shorter, each compressed on its own."""
        if self.compressor not in COMPRESSORS:
            raise ValueError(f"compressed by {self.compressor}; save it with zlib, or without compression")
        (count,) = self._numbers(content, 1)
        if not count:
            return b""
        _, size, last, *lengths = self._numbers(content, 3 + count)
        at, parts = (3 + count) * self.header.itemsize, []
        self._take((count - 1) * size + (last or size))
        for number, length in enumerate(lengths):
            expected = last if last and number == count - 1 else size
            if length > len(content) - at:
                raise ValueError("it ends early")
            parts.append(self._block(content[at : at + length], expected))
            at += length
        return b"".join(parts)

    def _block(self, block: memoryview, size: int) -> bytes:
        if not size:
            return b""
        try:
            if "ZLib" in self.compressor:
                found = zlib.decompressobj().decompress(block, size)
            else:
                found = lzma.LZMADecompressor(memlimit=MOST_MEMORY).decompress(block, size)
        except (zlib.error, lzma.LZMAError, EOFError) as error:
            raise ValueError(f"a block that cannot be expanded: {error}") from error
        if len(found) != size:
            raise ValueError("a block of another size than it states")
        return found

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("arrays much larger than the file")


def read_vtp(path: Path) -> tuple[FloatArray, IntArray]:
    """Read vertices (V, 3) float64 and triangles (F, 3) int64; larger polygons and strips are split into triangles.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no XML PolyData with triangles, or compressed in another way.
    """
    content = regular(path).read_bytes()
    head, separator, tail = content.partition(b"<AppendedData")
    root = _parsed(head + b"</VTKFile>" if separator else head)
    if root.tag != "VTKFile" or root.get("type") != "PolyData":
        raise ValueError(f"XML of the kind {root.get('type', root.tag)}, no PolyData")
    file = _opened(root, tail, len(content))
    vertices, faces, before = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
    for piece in root.iter("Piece"):
        own = _points(file, piece)
        found = triangles({CELLS[group.tag]: _cells(file, group) for group in piece if group.tag in CELLS}, None)
        if len(found) and not 0 <= found.min() <= found.max() < len(own):
            raise ValueError("faces of vertices that are not there")
        vertices.append(own)
        faces.append(found + before)
        before += len(own)
    if not before:
        raise ValueError("no points in it")
    if not sum(map(len, faces)):
        raise ValueError("no triangle in it")
    return np.concatenate(vertices), np.concatenate(faces)


def _parsed(text: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("XML with definitions of its own")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"no XML: {error}") from error


def _opened(root: ElementTree.Element, tail: bytes, size: int) -> _File:
    """How the arrays are stored; ``tail``: what follows after the name of the element of appended data."""
    order: Literal["<", ">"] = ">" if root.get("byte_order", "LittleEndian") == "BigEndian" else "<"
    kind = root.get("header_type", "UInt32")
    if kind not in ("UInt32", "UInt64"):
        raise ValueError(f"headers of the type {kind}")
    attributes, _, rest = tail.partition(b">")
    end = rest.rfind(b"</AppendedData")
    if tail and end < 0:
        raise ValueError("it ends early")
    appended = memoryview(rest)[rest.find(b"_") + 1 : max(0, end)]
    starts = [int(array.get("offset", "0")) for array in root.iter("DataArray") if array.get("format") == "appended"]
    header = np.zeros(0, np.dtype(TYPES[kind]).newbyteorder(order))
    most = MOST_EXPANSION * size
    return _File(appended, b"base64" in attributes, starts, order, header, root.get("compressor", ""), most)


def _written_out(text: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.array(text.split(), dtype)
    except OverflowError as error:
        raise ValueError("whole numbers that are too large") from error


def _decoded(text: bytes) -> bytes:
    """Base64 whose parts, as header and blocks, may each have been encoded on their own, with an end of theirs."""
    try:
        return b"".join(b64decode(part, validate=True) for part in re.findall(rb"[^=]+={0,2}", b"".join(text.split())))
    except ValueError as error:
        raise ValueError(f"no base64: {error}") from error


def _points(file: _File, piece: ElementTree.Element) -> FloatArray:
    array = piece.find("Points/DataArray")
    if array is None:
        return np.zeros((0, 3))
    values = file.read(array).astype(np.float64)
    if len(values) != 3 * int(piece.get("NumberOfPoints", "0")):
        raise ValueError(f"{len(values)} coordinates of {piece.get('NumberOfPoints')} points")
    return values.reshape(-1, 3)


def _cells(file: _File, group: ElementTree.Element) -> tuple[IntArray, IntArray]:
    """Cells as the corners of all one after the other, and where each begins and ends (C + 1,)."""
    arrays = {array.get("Name"): array for array in group.iter("DataArray")}
    if not {"connectivity", "offsets"} <= set(arrays):
        return np.zeros(0, np.int64), np.zeros(1, np.int64)
    corners, ends = (file.read(arrays[name]).astype(np.int64) for name in ("connectivity", "offsets"))
    offsets = np.concatenate([[0], ends])
    if (np.diff(offsets) < 0).any() or offsets[-1] > len(corners):
        raise ValueError("cells that do not fit their corners")
    return corners, offsets
