"""Screened Poisson surfaces by the solver that COLMAP brings along: it needs no system library."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pycolmap
from plyfile import PlyData, PlyParseError

from dd_sfm.errors import ReconstructionError
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_database import silence
from dd_sfm.structures import FloatArray, IntArray, PointCloud

KEEP_ALL = 1e-3
"""Trims nothing, but makes the solver write the density of its vertices; with 0 it leaves that out."""


@dataclass(frozen=True)
class PoissonSurface:
    """``vertices`` (V, 3), ``faces`` (F, 3), ``density`` (V,): depth of the octree that its points support."""

    vertices: FloatArray
    faces: IntArray
    density: FloatArray


def poisson_surface(cloud: PointCloud, depth: int, *, point_weight: float = 1.0, threads: int = -1) -> PoissonSurface:
    """The closed surface whose gradient fits the normals (Kazhdan and Hoppe, ACM TOG 2013), not trimmed.

    Args:
        cloud: Points with unit normals.
        depth: Of the octree: the finest cell is the extent over 2^depth.
        point_weight: How closely the surface passes the points; 0 for the normals alone.
        threads: -1 for one a core.

    Raises:
        ReconstructionError: If no surface comes of it.
    """
    silence()
    options = pycolmap.PoissonMeshingOptions()
    options.depth, options.point_weight, options.trim = depth, point_weight, KEEP_ALL
    options.color, options.num_threads = False, threads
    with TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "points.ply", Path(scratch) / "mesh.ply"
        write_cloud(source, cloud)
        try:
            with _quiet():
                pycolmap.poisson_meshing(source, target, options)
            content = PlyData.read(target)
            vertex, face = content["vertex"].data, content["face"].data["vertex_indices"]
            faces = np.stack(face).astype(np.int64) if len(face) else np.zeros((0, 3), np.int64)
            vertices = np.stack([vertex[n] for n in "xyz"], 1).astype(np.float64)
            return PoissonSurface(vertices, faces, np.asarray(vertex["value"], np.float64))
        except (OSError, ValueError, RuntimeError, KeyError, IndexError, PlyParseError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ReconstructionError(
                f"mesh: no surface from {len(cloud.xyz):,} points ({reason}); expected a cloud of a surface. "
                "Try another --depth"
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the solver prints by itself: remarks on its octree that a user can do nothing about."""
    with Path(os.devnull).open("w") as nowhere:
        saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
        try:
            for descriptor, _ in saved:
                os.dup2(nowhere.fileno(), descriptor)
            yield
        finally:
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
