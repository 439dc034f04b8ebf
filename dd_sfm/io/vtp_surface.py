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
from xml.parsers import expat

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
MOST_XML_BUFFER = 1 << 20
"""Bytes of text that the parser gathers before it hands them on."""
MOST_MEMORY = 100_000_000
"""Of an LZMA stream, in bytes; VTK's take a tenth of that."""
APPENDED = b"<AppendedData"
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

    def read(self, array: ElementTree.Element, most: int | None = None) -> NDArray[Any]:
        """The numbers of an array, in one row; what is not stored as text may share the memory of the file.

        Args:
            array: Where they are described.
            most: How many the file says that there are; None where it does not.

        Raises:
            ValueError: If they cannot be read.
        """
        kind, form = array.get("type", ""), array.get("format", "ascii")
        if kind not in TYPES:
            raise ValueError(f"numbers of the type {kind}")
        dtype = np.dtype(TYPES[kind])
        if form == "ascii":
            return self._written_out(array.text or "", np.dtype(np.float64 if dtype.kind == "f" else np.int64), most)
        if form == "appended":
            start = int(array.get("offset", "-1"))
            if not 0 <= start < max(1, len(self.appended)):
                raise ValueError("an array begins beyond the end")
            content = self.appended[start:]
            if self.is_base64:
                end = min((other for other in self.starts if other > start), default=len(self.appended))
                # Any number of arrays may begin at the same place.
                self._take(end - start)
                content = memoryview(_decoded(bytes(self.appended[start:end])))
        elif form == "binary":
            content = memoryview(_decoded((array.text or "").encode()))
        else:
            raise ValueError(f"an array of the format {form}")
        whole = self._expanded(content) if self.compressor else self._plain(content)
        if len(whole) % dtype.itemsize:
            raise ValueError("it ends early")
        return np.frombuffer(whole, dtype.newbyteorder(self.order)).astype(dtype, copy=False)

    def _written_out(self, text: str, dtype: np.dtype[Any], most: int | None) -> NDArray[Any]:
        allowed = self.left // dtype.itemsize
        most = allowed if most is None else min(most, allowed)
        words = text.split(None, most)
        if len(words) > most:
            raise ValueError(
                "arrays much larger than the file" if most == allowed else f"more numbers than {most}, as stated"
            )
        self._take(len(words) * dtype.itemsize)
        try:
            return np.array(words, dtype)
        except OverflowError as error:
            raise ValueError("whole numbers that are too large") from error

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
    behind = content.find(APPENDED)
    root = _parsed(content, behind)
    if root.tag != "VTKFile" or root.get("type") != "PolyData":
        raise ValueError(f"XML of the kind {root.get('type', root.tag)}, no PolyData")
    file = _opened(root, content, behind)
    vertices: list[FloatArray] = []
    faces: list[IntArray] = []
    before = 0
    for piece in root.iter("Piece"):
        own = _points(file, piece)
        cells = {
            CELLS[group.tag]: _cells(file, group, piece.get(f"NumberOf{group.tag}"))
            for group in piece
            if group.tag in CELLS
        }
        found = triangles(cells, None)
        if len(found) and not 0 <= found.min() <= found.max() < len(own):
            raise ValueError("faces of vertices that are not there")
        vertices.append(own)
        faces.append(found + before if before else found)
        before += len(own)
    if not before:
        raise ValueError("no points in it")
    if not sum(map(len, faces)):
        raise ValueError("no triangle in it")
    return _joined(vertices), _joined(faces)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parsed(content: bytes, behind: int) -> ElementTree.Element:
    """The XML of a file; ``behind``: where its appended data begins, negative without any."""
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()
    parser.buffer_text, parser.buffer_size = True, MOST_XML_BUFFER
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    # Asked of the parser, which knows all encodings: an entity may stand for any amount of text.
    parser.StartDoctypeDeclHandler = _refuse_definitions
    try:
        if behind < 0:
            parser.Parse(content, True)
        else:
            parser.Parse(memoryview(content)[:behind], False)
            parser.Parse(b"</VTKFile>", True)
        return builder.close()
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"no XML: {error}") from error


def _refuse_definitions(*_: object) -> None:
    raise ValueError("XML with definitions of its own")


def _opened(root: ElementTree.Element, content: bytes, behind: int) -> _File:
    """How the arrays are stored; ``behind``: where the element of appended data begins, negative without any."""
    order: Literal["<", ">"] = ">" if root.get("byte_order", "LittleEndian") == "BigEndian" else "<"
    kind = root.get("header_type", "UInt32")
    if kind not in ("UInt32", "UInt64"):
        raise ValueError(f"headers of the type {kind}")
    appended, is_base64 = memoryview(b""), False
    if behind >= 0:
        named, end = content.find(b">", behind), content.rfind(b"</AppendedData", behind)
        if not 0 <= named < end:
            raise ValueError("it ends early")
        is_base64 = b"base64" in content[behind:named]
        appended = memoryview(content)[content.find(b"_", named, end) + 1 or end : end]
    starts = [int(array.get("offset", "0")) for array in root.iter("DataArray") if array.get("format") == "appended"]
    header = np.zeros(0, np.dtype(TYPES[kind]).newbyteorder(order))
    most = MOST_EXPANSION * len(content)
    return _File(appended, is_base64, starts, order, header, root.get("compressor", ""), most)


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
    stated = 3 * int(piece.get("NumberOfPoints", "0"))
    values = file.read(array, max(0, stated)).astype(np.float64, copy=False)
    if len(values) != stated:
        raise ValueError(f"{len(values)} coordinates of {piece.get('NumberOfPoints')} points")
    return values.reshape(-1, 3)


def _cells(file: _File, group: ElementTree.Element, stated: str | None) -> tuple[IntArray, IntArray]:
    """Cells as the corners of all one after the other, and where each begins and ends (C + 1,).

    ``stated``: how many the file says that there are, None where it does not.
    """
    arrays = {array.get("Name"): array for array in group.iter("DataArray")}
    if not {"connectivity", "offsets"} <= set(arrays):
        return np.zeros(0, np.int64), np.zeros(1, np.int64)
    corners = file.read(arrays["connectivity"]).astype(np.int64, copy=False)
    ends = file.read(arrays["offsets"], None if stated is None else max(0, int(stated))).astype(np.int64, copy=False)
    offsets = np.concatenate([[0], ends])
    if (np.diff(offsets) < 0).any() or offsets[-1] > len(corners):
        raise ValueError("cells that do not fit their corners")
    return corners, offsets
