"""Point clouds as binary PLY."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyParseError

from dd_sfm.documents import regular
from dd_sfm.errors import InputError, one_line, reason_of
from dd_sfm.io.atomic import write_bytes, write_parts
from dd_sfm.structures import PointCloud

VERTEX = np.dtype(
    [
        ("x", "<f4"), ("y", "<f4"), ("z", "<f4"),
        ("red", "u1"), ("green", "u1"), ("blue", "u1"),
        ("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4"),
        ("error_px", "<f4"), ("track_length", "<i4"),
    ]
)  # fmt: skip


MESH_COMMENT = "made by dd-sfm mesh"
WRITTEN_AT_ONCE = 100_000
"""Vertices that are made ready together."""
READ_AT_ONCE = 200_000
"""Points whose places are read together."""
COVERAGE_COMMENT = (
    "made by dd-sfm reconstruct: views is how many frames see a vertex; place 0: with points, 1: in view, 2: not"
)
MOST_HEAD = 100_000
"""Bytes of a PLY's head."""
PLY_ERRORS = (OSError, PlyParseError, LookupError, ValueError, TypeError, AttributeError)
"""What plyfile raises of files that are damaged."""
QUALITY_PROPERTIES = ("triangulation_angle_deg", "uncertainty")
"""Further properties of a cloud, written if they are known."""


def write_cloud(path: Path, cloud: PointCloud, *, comments: Sequence[str] = ()) -> None:
    """Write a cloud as little-endian binary PLY with the properties ``VERTEX``, then ``QUALITY_PROPERTIES``.

    ``comments``: lines of the head.
    """
    known = {name: value for name in QUALITY_PROPERTIES if (value := getattr(cloud, name)) is not None}
    columns = dict(zip(VERTEX.names or (), (*cloud.xyz.T, *cloud.rgb.T, *cloud.normals.T), strict=False))
    columns |= {"error_px": cloud.error_px, "track_length": cloud.track_length}
    _write_vertices(path, [*VERTEX.descr, *((name, "<f4") for name in known)], columns | known, comments)


def _write_vertices(path: Path, kinds: list[Any], columns: Mapping[str, NDArray[Any]], comments: Sequence[str]) -> None:
    """Write a PLY of vertices alone, some of them at a time; ``columns`` (P,) by name."""
    count, kind = len(columns["x"]), np.dtype(kinds)

    def parts() -> Iterator[bytes]:
        # Memory that is never written to takes no room.
        elements = [PlyElement.describe(np.empty(count, kind), "vertex")]
        header = PlyData(elements, byte_order="<", comments=[one_line(text) for text in comments]).header
        yield f"{header}\n".encode()
        for first in range(0, count, WRITTEN_AT_ONCE):
            vertex = np.empty(min(WRITTEN_AT_ONCE, count - first), kind)
            for name, column in columns.items():
                vertex[name] = column[first : first + len(vertex)]
            yield vertex.tobytes()

    write_parts(path, parts())


def write_points(
    path: Path,
    xyz: NDArray[Any],
    rgb: NDArray[Any],
    further: Mapping[str, NDArray[Any]] | None = None,
    *,
    comments: Sequence[str] = (),
) -> None:
    """Write points (P, 3) with colours (P, 3) uint8 and nothing else, as binary PLY.

    ``further``: more properties (P,) of the points by name; ``comments``: lines of the head.
    """
    columns = dict(zip(VERTEX.names or (), (*xyz.T, *rgb.T), strict=False))
    kinds = [*VERTEX.descr[:6], *((name, "<f4") for name in further or ())]
    _write_vertices(path, kinds, columns | dict(further or {}), comments)


def write_mesh(
    path: Path,
    vertices: NDArray[Any],
    faces: NDArray[Any],
    normals: NDArray[Any],
    rgb: NDArray[Any] | None = None,
    further: Mapping[str, NDArray[Any]] | None = None,
    *,
    comments: Sequence[str] = (),
) -> None:
    """Write a triangle mesh as binary PLY: vertices (V, 3), faces (F, 3), normals (V, 3), colours (V, 3) uint8.

    ``further``: whole numbers (V,) of the vertices by name; ``comments``: lines of the head.
    """
    names = ["x", "y", "z", "nx", "ny", "nz"]
    kinds = [(n, "<f4") for n in names] + ([(n, "u1") for n in ("red", "green", "blue")] if rgb is not None else [])
    columns = further or {}
    vertex = np.empty(len(vertices), np.dtype([*kinds, *((name, "<i4") for name in columns)]))
    for name, values in columns.items():
        vertex[name] = values
    for name, column in zip(names, np.concatenate([vertices, normals], 1).T, strict=True):
        vertex[name] = column
    if rgb is not None:
        vertex["red"], vertex["green"], vertex["blue"] = rgb.T
    face = np.empty(len(faces), np.dtype([("vertex_indices", "<i4", (3,))]))
    face["vertex_indices"] = faces
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    header = PlyData(elements, byte_order="<", comments=[one_line(text) for text in comments]).header
    # plyfile itself writes face by face, which takes seconds for a large mesh.
    rows = np.empty(len(faces), np.dtype([("corners", "u1"), ("vertex_indices", "<i4", (3,))]))
    rows["corners"], rows["vertex_indices"] = 3, faces
    write_bytes(path, f"{header}\n".encode() + vertex.tobytes() + rows.tobytes())


def is_own_mesh(path: Path) -> bool:
    """Whether a file is a mesh of a run by ``dd-sfm mesh``; one that another program has saved again is not."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return f"\ncomment {MESH_COMMENT}\n".encode() in file.read(512)


def read_ply(path: Path, **known: Any) -> PlyData:
    """Read a PLY that is large enough for what its head claims: a value takes a byte at least.

    Args:
        path: The file.
        known: See :meth:`plyfile.PlyData.read`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it claims more than it holds, or has no head. Of what is damaged else plyfile raises errors of
            many kinds: :data:`PLY_ERRORS`.
    """
    size = regular(path).stat().st_size
    with path.open("rb") as file:
        head, end, _ = file.read(MOST_HEAD).partition(b"end_header")
    if not head.startswith(b"ply") or not end:
        raise ValueError("no head of a PLY")
    for element in re.split(rb"^element ", head, flags=re.MULTILINE)[1:]:
        words = element.split(None, 2)
        count = int(words[1]) if len(words) > 1 and words[1].isdigit() else -1
        values = len(re.findall(rb"^property", element, re.MULTILINE))
        if not 0 <= count * max(1, values) <= size:
            raise ValueError(f"{count} elements of {values} values in {size} bytes")
    return PlyData.read(path, **known)


def face_count(path: Path) -> int:
    """Number of faces of a PLY by its header; 0 if it has none or is not a PLY."""
    try:
        file = regular(path).open("rb")
    except OSError:
        return 0
    with file:
        header = file.read(MOST_HEAD).split(b"end_header")[0].decode("ascii", errors="replace")
    found = re.search(r"^element face (\d{1,18})\s*$", header, re.MULTILINE)
    return int(found[1]) if header.startswith("ply") and found else 0


def read_cloud(path: Path, most: int | None = None) -> PointCloud:
    """Read a PLY; colours default to grey, normals to zero, error and track length to 0.

    Args:
        path: The file.
        most: Points to read at most, every one of so many; None for all.

    Raises:
        InputError: If the file is missing or no PLY with x, y and z.
    """
    with _vertices_of(path) as vertex:
        if most is not None:
            vertex = vertex[:: max(1, -(-len(vertex) // most))]
        xyz = _places(vertex)
    count, names = len(xyz), vertex.dtype.names or ()

    def columns(wanted: tuple[str, ...], default: float, kind: type) -> np.ndarray:
        if not set(wanted) <= set(names):
            return np.full((count, len(wanted)), default, kind)
        return np.stack([vertex[n] for n in wanted], 1).astype(kind)

    return PointCloud(
        xyz,
        columns(("red", "green", "blue"), 128, np.uint8),
        columns(("nx", "ny", "nz"), 0.0, np.float64),
        columns(("error_px",), 0.0, np.float64)[:, 0],
        columns(("track_length",), 0, np.int64)[:, 0],
        *(columns((name,), 0.0, np.float64)[:, 0] if name in names else None for name in QUALITY_PROPERTIES),
    )


def point_places(path: Path) -> Iterator[NDArray[np.float64]]:
    """The points (N, 3) of a PLY, some of them at a time.

    Raises:
        InputError: If the file is missing or no PLY with x, y and z.
    """
    with _vertices_of(path) as vertex:
        for first in range(0, len(vertex), READ_AT_ONCE):
            yield _places(vertex[first : first + READ_AT_ONCE])


def _places(vertex: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([vertex["x"], vertex["y"], vertex["z"]], 1).astype(np.float64)


@contextmanager
def _vertices_of(path: Path) -> Iterator[NDArray[Any]]:
    """The vertices of a PLY, which are read where they are used; what is wrong with them becomes an InputError."""
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            yield read_ply(path)["vertex"].data
    except PLY_ERRORS as error:
        raise InputError(
            f"{path}: not a PLY with vertices ({reason_of(error)}); expected properties x, y, z"
        ) from error


def read_faces(path: Path) -> NDArray[np.int64]:
    """Triangles (F, 3) of a PLY as positions of its vertices; F = 0 when it is no triangle mesh."""
    try:
        content = read_ply(path, known_list_len={"face": {"vertex_indices": 3}})
        return np.array(content["face"].data["vertex_indices"], np.int64).reshape(-1, 3)
    except PLY_ERRORS:
        return np.zeros((0, 3), np.int64)


def some_uncertainty(run: Path, xyz: NDArray[Any]) -> NDArray[np.float64] | None:
    """Expected relative errors (P,) of some points (P, 3) of a run's first model, found in its cloud by their places.

    NaN where the cloud has none there; None where the run has no ``points.ply``, or one that knows of no errors.

    Raises:
        InputError: If the cloud cannot be read.
    """
    path = run / "points.ply"
    if not path.is_file():
        return None
    with _vertices_of(path) as vertex:
        if "uncertainty" not in (vertex.dtype.names or ()):
            return None
        keys, values = _place_keys(_places(vertex)), np.array(vertex["uncertainty"], np.float64)
    order, wanted = np.argsort(keys), _place_keys(xyz)
    at = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)] if len(order) else order
    return np.where(keys[at] == wanted, values[at], np.nan) if len(order) else np.full(len(xyz), np.nan)


def _place_keys(xyz: NDArray[Any]) -> NDArray[np.uint64]:
    """A number (P,) for each place (P, 3) in single precision, which no other one has, as good as certainly."""
    bits = np.ascontiguousarray(xyz, np.float32).view(np.uint32).astype(np.uint64)
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    return (bits * factors).sum(1, dtype=np.uint64)


def run_uncertainty(run: Path, xyz: NDArray[Any]) -> NDArray[np.float64] | None:
    """Expected relative errors (P,) of the points (P, 3) of a run's model, which does not hold them: from its cloud.

    None where the run has no ``points.ply``, or one that knows of no errors or shows other points.

    Raises:
        InputError: If the cloud cannot be read.
    """
    path = run / "points.ply"
    if not path.is_file():
        return None
    cloud = read_cloud(path)
    is_same = len(cloud.xyz) == len(xyz) and np.allclose(cloud.xyz, xyz, rtol=1e-3, atol=1e-3)
    return cloud.uncertainty if is_same else None
