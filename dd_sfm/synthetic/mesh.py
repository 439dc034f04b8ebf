"""Triangle meshes of hollow organs with normals, and the ambient visibility of their vertices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from dd_sfm.ops.rays import RayScene

DistanceField = Callable[[NDArray[Any]], NDArray[Any]]
"""Points (N, 3) in mm -> approximate distance to the wall (N,), positive in the free space."""


@dataclass(frozen=True)
class Mesh:
    """``vertices`` (V, 3) float32 mm; ``faces`` (F, 3) int32; ``normals`` (V, 3) float32 into the free space."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]


def mesh_from_field(field: DistanceField, low: NDArray[Any], high: NDArray[Any], step: float) -> Mesh:
    """The zero surface of a field by marching cubes, pulled onto it exactly by Newton steps.

    Args:
        field: Positive in the free space.
        low: Corner of the box around it (3,).
        high: The opposite corner (3,).
        step: Grid spacing in mm.
    """
    from skimage.measure import marching_cubes

    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    volume = _sample_field(field, axes, 8 * step)
    places, faces, _, _ = marching_cubes(volume, 0.0, spacing=(step,) * 3)
    vertices = places.astype(np.float64) + np.array([a[0] for a in axes])
    for _ in range(3):
        gradient = _gradient(field, vertices)
        size = np.maximum((gradient**2).sum(1), 0.05)
        move = -(field(vertices) / size)[:, None] * gradient
        length = np.linalg.norm(move, axis=1, keepdims=True)
        vertices += move * np.minimum(1.0, 0.3 * step / np.maximum(length, 1e-9))
    normals = _gradient(field, vertices)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), normals.astype(np.float32))


def mesh_from_tube(points: NDArray[np.float32]) -> Mesh:
    """The wall of a tube from rings of points (S, T, 3), each ring closed."""
    rings, around = points.shape[:2]
    along = np.gradient(points, axis=0)
    across = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normals = np.cross(along, across).reshape(-1, 3)
    inward = (points.mean(1, keepdims=True) - points).reshape(-1, 3)
    normals *= np.sign((normals * inward).sum(1).mean())
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    index = np.arange(rings * around).reshape(rings, around)
    a, b = index[:-1], index[1:]
    c, d = np.roll(a, -1, 1), np.roll(b, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return Mesh(points.reshape(-1, 3), faces.astype(np.int32), normals.astype(np.float32))


def _sample_field(field: DistanceField, axes: list[NDArray[Any]], width: float) -> NDArray[np.float32]:
    """The field on a grid: exact near the wall, interpolated from every second node elsewhere."""
    coarse = [np.append(a[:-1:2], a[-1]) for a in axes]
    nodes = np.stack(np.meshgrid(*coarse, indexing="ij"), -1)
    rough = field(nodes.reshape(-1, 3)).reshape(nodes.shape[:3])
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1, dtype=np.float32).reshape(-1, 3)
    volume = RegularGridInterpolator(coarse, rough, bounds_error=False, fill_value=None)(grid).astype(np.float32)
    near = np.flatnonzero(np.abs(volume) < width)
    for part in np.array_split(near, max(1, len(near) // 200_000)):
        volume[part] = field(grid[part])
    return volume.reshape([len(a) for a in axes])


def _gradient(field: DistanceField, p: NDArray[Any], step: float = 0.08) -> NDArray[np.float64]:
    columns = []
    for axis in np.eye(3) * step:
        columns.append((field(p + axis) - field(p - axis)) / (2 * step))
    return np.stack(columns, 1).astype(np.float64)


def ambient_visibility(mesh: Mesh, rng: np.random.Generator, *, rays: int = 24, reach: float = 14.0) -> NDArray[Any]:
    """Share (V,) float32 of the directions into the free space that meet no wall within ``reach`` mm, by cosine."""
    scene = RayScene(mesh.vertices, mesh.faces)
    total = np.zeros(len(mesh.vertices), np.float32)
    origins = mesh.vertices + 0.05 * mesh.normals
    for _ in range(rays):
        direction = rng.standard_normal(mesh.normals.shape).astype(np.float32)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        # Normal plus a point on the unit sphere: distributed by the cosine.
        direction = mesh.normals + 0.999 * direction
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
        total += np.minimum(scene.distance(origins, direction) / reach, 1.0)
    return total / rays
