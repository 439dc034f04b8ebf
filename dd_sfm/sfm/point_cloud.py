"""From a model to the point cloud that is handed out: normals and the columns of points.ply."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.sfm.observation_geometry import model_angles_deg
from dd_sfm.structures import Model, PointCloud

POINTS = 50_000
"""Points whose neighbours are in memory at once."""


def point_normals(model: Model, neighbours: int = 16) -> NDArray[np.float64]:
    """Unit normals (P, 3): the flattest direction among the nearest points, turned towards the cameras.

    Principal component analysis of each neighbourhood (Hoppe et al., SIGGRAPH 1992); the sign comes from the mean
    direction to the cameras that see the point. With fewer than 3 points: that mean direction itself.
    """
    count = len(model.xyz)
    normals = np.empty((count, 3))
    if count >= 3:
        tree, k = cKDTree(model.xyz), min(neighbours, count)
        for part in (slice(n, n + POINTS) for n in range(0, count, POINTS)):
            normals[part] = _flattest(model.xyz, tree, k, part)
    first = 0
    for block in point_blocks(model):
        towards, part = _towards_cameras(block), slice(first, first + len(block.xyz))
        found = normals[part] if count >= 3 else towards
        normals[part] = np.where((found * towards).sum(1, keepdims=True) < 0, -found, found)
        first += len(block.xyz)
    return normals


def _flattest(xyz: NDArray[np.float64], tree: cKDTree, neighbours: int, part: slice) -> NDArray[np.float64]:
    """The direction in which the points around some of them spread least."""
    near = xyz[tree.query(xyz[part], k=neighbours)[1]]
    near -= near.mean(1, keepdims=True)
    return np.asarray(np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][:, :, 0])


def _towards_cameras(model: Model) -> NDArray[np.float64]:
    centres = camera_centres(stack_poses(model.cam_from_world))
    direction = centres[model.frame] - model.xyz[model.point]
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    total = np.stack([np.bincount(model.point, weights=c, minlength=len(model.xyz)) for c in direction.T], 1)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def to_cloud(model: Model, uncertainty: NDArray[np.float64] | None = None) -> PointCloud:
    """The model's points with normals and what tells how far to trust them.

    Args:
        model: The points and their observations.
        uncertainty: Expected relative error (P,); None where nothing is known of it.
    """
    return PointCloud(
        xyz=model.xyz,
        rgb=model.rgb,
        normals=point_normals(model),
        error_px=model.error_px,
        track_length=np.bincount(model.point, minlength=len(model.xyz)),
        triangulation_angle_deg=model_angles_deg(model) if len(model.xyz) else None,
        uncertainty=uncertainty,
    )
