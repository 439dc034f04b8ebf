"""VTK's XML PolyData (.vtp) of points: vertices or one line, arrays of the points, and texts; binary, inline base64.

VTK itself is larger than all else that this package needs for it.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import one_line
from dd_sfm.io.atomic import write_bytes

TYPES = {"u1": "UInt8", "i4": "Int32", "i8": "Int64", "f4": "Float32", "f8": "Float64"}


def write_polydata(
    path: Path,
    xyz: NDArray[Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    texts: Mapping[str, str],
    as_line: bool = False,
) -> None:
    """Write points (P, 3) as vertices, or as one line through all.

    Args:
        path: The file.
        xyz: The points; float64 stays.
        arrays: Columns (P,) or (P, C) of the points by name; of these the first is the active scalar.
        texts: What is told of the whole by name.
        as_line: Whether the points are one line.
    """
    root = ElementTree.Element(
        "VTKFile", type="PolyData", version="1.0", byte_order="LittleEndian", header_type="UInt64"
    )
    data = ElementTree.SubElement(root, "PolyData")
    fields = ElementTree.SubElement(data, "FieldData")
    for name, text in texts.items():
        field = ElementTree.SubElement(
            fields, "DataArray", type="String", Name=name, NumberOfTuples="1", format="ascii", NumberOfComponents="1"
        )
        field.text = " ".join(str(byte) for byte in [*one_line(text).encode(), 0])
    count = len(xyz)
    lines = int(as_line and count > 1)
    sizes = {"NumberOfPoints": count, "NumberOfVerts": 0 if lines else count, "NumberOfLines": lines}
    piece = ElementTree.SubElement(data, "Piece", {name: str(n) for name, n in sizes.items()})
    columns = ElementTree.SubElement(piece, "PointData", Scalars=next(iter(arrays), ""))
    for name, values in arrays.items():
        _add(columns, name, values)
    _add(ElementTree.SubElement(piece, "Points"), "Points", xyz)
    order = np.arange(count, dtype=np.int64)
    cells = ElementTree.SubElement(piece, "Lines" if lines else "Verts")
    _add(cells, "connectivity", order)
    _add(cells, "offsets", np.array([count], np.int64) if lines else order + 1)
    write_bytes(path, b'<?xml version="1.0"?>\n' + ElementTree.tostring(root))


def _add(parent: ElementTree.Element, name: str, values: NDArray[Any]) -> None:
    """An array: the number of its bytes and these, base64."""
    content = np.ascontiguousarray(values)
    content = content.astype(content.dtype.newbyteorder("<"))
    kind = TYPES[content.dtype.str[1:]]
    width = "1" if content.ndim == 1 else str(content.shape[1])
    array = ElementTree.SubElement(parent, "DataArray", type=kind, Name=name, NumberOfComponents=width, format="binary")
    array.text = base64.b64encode(np.uint64(content.nbytes).tobytes() + content.tobytes()).decode()
