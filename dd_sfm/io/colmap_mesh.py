"""Screened Poisson surfaces by the solver that COLMAP brings along: it needs no system library."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from plyfile import PlyData, PlyParseError

from dd_sfm.errors import ReconstructionError
from dd_sfm.io.clouds import write_cloud
from dd_sfm.structures import FloatArray, IntArray, PointCloud

SOLVER = "dd_sfm.io.colmap_poisson"
TRIM_NOTHING = 1e-3
"""Trims nothing, but makes the solver write the density of its vertices; with 0 it leaves that out."""


@dataclass(frozen=True)
class PoissonSurface:
    """``vertices`` (V, 3), ``faces`` (F, 3), ``density`` (V,): depth of the octree that its points support."""

    vertices: FloatArray
    faces: IntArray
    density: FloatArray


def poisson_surface(
    cloud: PointCloud, depth: int, *, point_weight: float = 1.0, threads: int = -1, advice: str = ""
) -> PoissonSurface:
    """The closed surface whose gradient fits the normals (Kazhdan and Hoppe, ACM TOG 2013), not trimmed.

    Args:
        cloud: Points with unit normals.
        depth: Of the octree: the finest cell is the extent over 2^depth.
        point_weight: How closely the surface passes the points; 0 for the normals alone.
        threads: -1 for one a core.
        advice: What to try where no surface comes of it, with which the message ends.

    Raises:
        ReconstructionError: If no surface comes of it.
    """
    with TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "points.ply", Path(scratch) / "mesh.ply"
        write_cloud(source, cloud)
        try:
            _solve(source, target, depth, point_weight, TRIM_NOTHING, threads)
            content = PlyData.read(target)
            vertex, face = content["vertex"].data, content["face"].data["vertex_indices"]
            faces = np.stack(face).astype(np.int64) if len(face) else np.zeros((0, 3), np.int64)
            vertices = np.stack([vertex[n] for n in "xyz"], 1).astype(np.float64)
            return PoissonSurface(vertices, faces, np.asarray(vertex["value"], np.float64))
        except (OSError, ValueError, RuntimeError, KeyError, IndexError, PlyParseError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ReconstructionError(
                f"mesh: no surface from {len(cloud.xyz):,} points ({reason}); expected a cloud of a surface{advice}"
            ) from error


def _solve(source: Path, target: Path, *values: float) -> None:
    """Run the solver, with its own lines held back: remarks on its octree that a user can do nothing about."""
    command = [sys.executable, "-m", SOLVER, str(source), str(target), *map(str, values)]
    # The package is found wherever this process found it.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # When this process is stopped, the other one is ended before the exception goes on.
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"the solver ended with {done.returncode}")
