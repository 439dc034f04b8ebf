"""From the point cloud to a triangle mesh: screened Poisson, trimmed to where there are points."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError
from dd_sfm.io.colmap_mesh import poisson_surface
from dd_sfm.structures import FloatArray, IntArray, PointCloud

MIN_POINTS = 100
NEIGHBOURS = 24
"""Of a normal: more than a point cloud's own, as a surface wants direction rather than detail."""
OUTLIER_SPACINGS = 4.0
"""Points this many median spacings from their neighbours take no part ..."""
MAX_UNCERTAINTY_RATIO = 4.0
"""... nor points whose uncertainty is this many times the median."""
MAX_DISTANCE_SPACINGS = 1.5
"""The mesh ends this many times the distance to the seventh neighbour from the nearest point."""
OCTREE_DEPTHS = (5, 12)
MIN_PIECE_SHARE = 0.01
"""Pieces below this share of the area are left out."""


@dataclass(frozen=True)
class MeshSettings:
    """``depth`` of the octree, None for what the points' spacing supports; ``trim``: share of the vertices, those
    with the least points around, that is left out; ``threads`` of the solver: several wait for each other by spinning,
    and are ten times slower than one where other work uses the cores.
    """  # fmt: skip

    depth: int | None = None
    trim: float = 0.02
    threads: int = 1


@dataclass(frozen=True)
class Mesh:
    """``vertices`` (V, 3), ``faces`` (F, 3) with the front towards the cameras, ``normals`` (V, 3), ``rgb`` (V, 3)."""

    vertices: FloatArray
    faces: IntArray
    normals: FloatArray
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Meshed:
    """A mesh, the octree's ``depth``, how many points were used, and the area left and trimmed away, in units^2."""

    mesh: Mesh
    depth: int
    points_used: int
    area: float
    area_trimmed: float


def mesh_cloud(cloud: PointCloud, settings: MeshSettings) -> Meshed:
    """Mesh a cloud.

    Args:
        cloud: Points with normals towards the cameras.
        settings: Detail and trimming.

    Raises:
        InputError: If there are too few points, or no normals.
        ReconstructionError: If no surface comes of it.
    """
    placed: NDArray[np.bool_] = np.isfinite(np.hstack([cloud.xyz, cloud.normals])).all(axis=1)
    cloud = take_points(cloud, placed)
    if len(cloud.xyz) < MIN_POINTS:
        raise InputError(f"mesh: the cloud has {len(cloud.xyz)} points; expected at least {MIN_POINTS}")
    if not np.abs(cloud.normals).max() > 0:
        raise InputError(
            "mesh: the cloud has no normals (nx, ny, nz); expected one that has. Mesh the run, not a bare PLY"
        )
    used = chosen_points(cloud)
    depth = settings.depth or _fitting_depth(used.xyz)
    surface = poisson_surface(used, depth, threads=settings.threads, advice=". Try another --depth")
    area = face_areas(surface.vertices, surface.faces)
    keep = surface.density >= np.quantile(surface.density, settings.trim)
    keep &= _is_near(surface.vertices, used.xyz)
    kept = keep[surface.faces].all(1)
    kept[kept] = _is_large_piece(surface.faces[kept], area[kept], len(surface.vertices))
    numbers, faces = np.unique(surface.faces[kept], return_inverse=True)
    vertices, faces = surface.vertices[numbers], faces.reshape(-1, 3)
    if not len(faces):
        raise InputError(
            "mesh: trimming left no face; expected part of the surface to remain. Try a smaller --trim or --depth"
        )
    mesh = Mesh(vertices, faces, vertex_normals(vertices, faces), nearest_colours(vertices, used))
    left = float(area[kept].sum())
    return Meshed(mesh, depth, len(used.xyz), left, float(area.sum()) - left)


def chosen_points(cloud: PointCloud) -> PointCloud:
    """The points that make the surface, without strays and the most uncertain, with smoothed normals."""
    count = min(NEIGHBOURS, len(cloud.xyz) - 1)
    spacing = np.asarray(cKDTree(cloud.xyz).query(cloud.xyz, k=[min(7, count + 1)])[0])[:, 0]
    keep = spacing <= OUTLIER_SPACINGS * np.median(spacing)
    uncertainty = cloud.uncertainty
    if uncertainty is not None and np.isfinite(uncertainty).any():
        keep &= ~(uncertainty > MAX_UNCERTAINTY_RATIO * np.nanmedian(uncertainty))
    kept = take_points(cloud, keep)
    return replace(kept, normals=smooth_normals(kept.xyz, kept.normals, count))


def take_points(cloud: PointCloud, keep: NDArray[Any]) -> PointCloud:
    """Some of the points, by a mask (P,) or by their indices."""
    columns = {field.name: getattr(cloud, field.name) for field in fields(cloud)}
    return replace(cloud, **{name: column[keep] for name, column in columns.items() if column is not None})


def smooth_normals(xyz: FloatArray, normals: FloatArray, neighbours: int, chunk: int = 50_000) -> FloatArray:
    """Unit normals (P, 3): the flattest direction among ``neighbours``, on the side of the given ones' mean."""
    tree, result = cKDTree(xyz), np.empty_like(normals)
    for start in range(0, len(xyz), chunk):
        index = tree.query(xyz[start : start + chunk], k=neighbours)[1]
        local = xyz[index] - xyz[index].mean(1, keepdims=True)
        flat = np.linalg.eigh(local.transpose(0, 2, 1) @ local)[1][:, :, 0]
        side = (flat * normals[index].mean(1)).sum(1)
        result[start : start + chunk] = np.where(side < 0, -1.0, 1.0)[:, None] * flat
    return result


def _fitting_depth(xyz: FloatArray) -> int:
    """A finest cell of about half a spacing: smaller ones add triangles, not detail."""
    spacing = float(np.median(np.asarray(cKDTree(xyz).query(xyz, k=[4])[0])))
    extent = float(np.ptp(xyz, axis=0).max()) * 1.1
    return int(np.clip(np.ceil(np.log2(2 * max(extent, 1e-12) / max(spacing, 1e-12))), *OCTREE_DEPTHS))


def _is_near(vertices: FloatArray, xyz: FloatArray) -> NDArray[np.bool_]:
    """Which vertices have a point within :data:`MAX_DISTANCE_SPACINGS` times the spacing of the points around it."""
    tree = cKDTree(xyz)
    spacing = np.asarray(tree.query(xyz, k=[7])[0])[:, 0]
    distance, nearest = tree.query(vertices)
    return distance <= MAX_DISTANCE_SPACINGS * spacing[nearest]


def _is_large_piece(faces: IntArray, area: FloatArray, count: int) -> NDArray[np.bool_]:
    """Which faces belong to a connected piece of more than :data:`MIN_PIECE_SHARE` of the area."""
    if not len(faces):
        return np.zeros(0, bool)
    start, end = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    graph = coo_matrix((np.ones(len(start), np.int8), (start, end)), shape=(count, count))
    piece = connected_components(graph, directed=False)[1][faces[:, 0]]
    areas = np.bincount(piece, weights=area)
    return np.asarray(areas[piece] >= MIN_PIECE_SHARE * areas.sum())


def face_areas(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Areas (F,) of triangles."""
    return np.asarray(np.linalg.norm(_face_normals(vertices, faces), axis=1) / 2)


def vertex_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Unit normals (V, 3): the mean of the faces around, by area."""
    weighted = _face_normals(vertices, faces)
    total = np.stack(
        [sum(np.bincount(faces[:, c], weights=axis, minlength=len(vertices)) for c in range(3)) for axis in weighted.T],
        1,
    )
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _face_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def nearest_colours(vertices: FloatArray, cloud: PointCloud, neighbours: int = 5) -> NDArray[np.uint8]:
    """Colours (V, 3) uint8: the mean of the nearest points, the closer the more."""
    distance, index = cKDTree(cloud.xyz).query(vertices, k=min(neighbours, len(cloud.xyz)))
    weight = 1 / np.maximum(distance, 1e-12)
    weight /= weight.sum(1, keepdims=True)
    mean = (cloud.rgb[index] * weight[..., None]).sum(1)
    return np.asarray(np.round(mean).clip(0, 255), np.uint8)
