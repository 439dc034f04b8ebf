"""A closed surface through a cloud, coarse and quick: on it what is missing can be found and measured."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.io.colmap_mesh import PoissonSurface, poisson_surface
from dd_sfm.mvs.mesh import MAX_UNCERTAINTY_RATIO, OUTLIER_SPACINGS, smooth_normals, take_points
from dd_sfm.structures import FloatArray, PointCloud

MIN_POINTS = 300
"""Of fewer points no surface is made."""
CELL_SHARE = 0.025
"""Width of a cell of the surface, relative to the distance from which the points are seen ..."""
MAX_CELLS = 15_000
"""... and wider where the cells of the cloud would be more than these: a long video has a large surface."""
CELLS_GROW = 1.25
LEAST_SPACINGS = 0.75
"""A cell is at least this many spacings of the points wide."""
MOST_POINTS = 250_000
"""Of a larger cloud so many points, evenly spread, make the surface: more are averaged away."""
NORMAL_NEIGHBOURS = 16
OCTREE_DEPTHS = (4, 9)


def closed_surface(cloud: PointCloud, distance: float) -> PoissonSurface:
    """The closed surface of a cloud.

    Args:
        cloud: At least :data:`MIN_POINTS` points with normals towards the cameras.
        distance: From which the cameras see the points, in the median.

    Raises:
        ReconstructionError: If no surface comes of it.
    """
    cloud = take_points(cloud, np.arange(0, len(cloud.xyz), -(-len(cloud.xyz) // MOST_POINTS)))
    spacing = np.asarray(cKDTree(cloud.xyz).query(cloud.xyz, k=[min(7, len(cloud.xyz))])[0])[:, 0]
    keep = spacing <= OUTLIER_SPACINGS * np.median(spacing)
    if cloud.uncertainty is not None and np.isfinite(cloud.uncertainty).any():
        keep &= ~(cloud.uncertainty > MAX_UNCERTAINTY_RATIO * np.nanmedian(cloud.uncertainty))
    used = take_points(cloud, keep)
    cell = max(CELL_SHARE * distance, LEAST_SPACINGS * float(np.median(spacing)), 1e-9)
    thinned = _mean_per_cell(used, cell)
    while len(thinned.xyz) > MAX_CELLS:
        cell *= CELLS_GROW
        thinned = _mean_per_cell(used, cell)
    count = min(NORMAL_NEIGHBOURS, len(thinned.xyz))
    thinned = replace(thinned, normals=smooth_normals(thinned.xyz, thinned.normals, count))
    extent = 1.1 * float(np.ptp(thinned.xyz, axis=0).max())
    depth = int(np.clip(np.ceil(np.log2(max(extent / cell, 1.0))), *OCTREE_DEPTHS))
    return poisson_surface(thinned, depth, threads=1)


def _mean_per_cell(cloud: PointCloud, width: float) -> PointCloud:
    """A point for each cell of a grid in space: the mean place and direction of the points in it."""
    cell = np.floor((cloud.xyz - cloud.xyz.min(0)) / width).astype(np.int64)
    _, first, index, count = np.unique(cell, axis=0, return_index=True, return_inverse=True, return_counts=True)

    def mean(values: FloatArray) -> FloatArray:
        return np.stack([np.bincount(index.ravel(), weights=axis) / count for axis in values.T], 1)

    normals = mean(cloud.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return replace(take_points(cloud, first), xyz=mean(cloud.xyz), normals=normals)
