"""From a model to the point cloud that is handed out: normals and the columns of points.ply."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.sfm.geometry import model_rays, widest_angles_deg
from dd_sfm.structures import Model, PointCloud


def point_normals(model: Model, neighbours: int = 16) -> NDArray[np.float64]:
    """Unit normals (P, 3): the flattest direction among the nearest points, turned towards the cameras.

    Principal component analysis of each neighbourhood (Hoppe et al., SIGGRAPH 1992); the sign comes from the mean
    direction to the cameras that see the point. With fewer than 3 points: that mean direction itself.
    """
    count = len(model.xyz)
    towards = _towards_cameras(model)
    if count < 3:
        return towards
    k = min(neighbours, count)
    index = cKDTree(model.xyz).query(model.xyz, k=k)[1]
    local = model.xyz[index] - model.xyz[index].mean(1, keepdims=True)
    normals = np.linalg.eigh(local.transpose(0, 2, 1) @ local)[1][:, :, 0]
    away = (normals * towards).sum(1) < 0
    normals[away] *= -1
    return normals


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
        triangulation_angle_deg=widest_angles_deg(model_rays(model), model.xyz) if len(model.xyz) else None,
        uncertainty=uncertainty,
    )
