"""Surfaces of other tools: meshes from CT or of a phantom (STL, PLY, OBJ, VTK, VTP)."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dd_sfm.documents import regular
from dd_sfm.errors import InputError, reason_of
from dd_sfm.io.clouds import face_count, read_cloud, read_faces
from dd_sfm.io.vtk_file import read_vtk
from dd_sfm.io.vtp_surface import read_vtp
from dd_sfm.structures import FloatArray, IntArray

SUFFIXES = (".stl", ".ply", ".obj", ".vtk", ".vtp")
MIN_VERTICES = 50
MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Surface:
    """``vertices`` (V, 3); ``faces`` (F, 3) as positions of vertices, F = 0 for a cloud; ``name`` of the file."""

    vertices: FloatArray
    faces: IntArray
    name: str


def read_surface(path: Path) -> Surface:
    """Read a triangle mesh; a PLY without triangles is a cloud of the surface.

    Raises:
        InputError: If it cannot be read, or is no surface.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: an unknown kind of file; expected a surface: {', '.join(SUFFIXES)}")
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES // 10**9} GB; expected a surface. Thin it out")
        vertices, faces = _READERS[suffix](path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({reason_of(error)}); expected a surface as {suffix[1:].upper()}"
        ) from error
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise InputError(f"{path}: faces of vertices that are not there; expected numbers below {len(vertices)}")
    known = np.isfinite(vertices).all(1)
    if len(faces):
        faces = faces[known[faces].all(1)]
        used = np.zeros(len(vertices), bool)
        used[faces] = True
    else:
        used = known
    vertices, faces = vertices[used], (np.cumsum(used) - 1)[faces] if len(faces) else faces
    if len(vertices) < MIN_VERTICES:
        raise InputError(f"{path}: {len(vertices)} vertices; expected a surface of {MIN_VERTICES} or more")
    return Surface(vertices, faces, path.name)


def _read_ply(path: Path) -> tuple[FloatArray, IntArray]:
    faces = read_faces(path)
    if not len(faces) and face_count(path):
        raise ValueError("its faces are no triangles; triangulate it")
    return read_cloud(path).xyz, faces


def _read_by_trimesh(path: Path) -> tuple[FloatArray, IntArray]:
    import trimesh

    kind = path.suffix[1:].lower()
    try:
        # From memory, so that nothing else that a file names, as the materials of an OBJ, is looked for.
        found = trimesh.load_mesh(io.BytesIO(path.read_bytes()), file_type=kind, process=False)
        vertices, faces = np.asarray(found.vertices, np.float64), np.asarray(found.faces, np.int64)
    except Exception as error:  # Its readers raise errors of any kind of what is damaged.
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not len(faces):
        raise ValueError("no triangle in it")
    return vertices.reshape(-1, 3), faces.reshape(-1, 3)


_READERS = {".ply": _read_ply, ".stl": _read_by_trimesh, ".obj": _read_by_trimesh, ".vtk": read_vtk, ".vtp": read_vtp}
