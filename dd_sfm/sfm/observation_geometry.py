"""What is measured at every observation of a model."""

import numpy as np

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.sfm.geometry import Floats, model_rays, reprojection_errors_px, widest_angles_deg
from dd_sfm.structures import Model


def model_errors_px(model: Model) -> Floats:
    """Reprojection errors (O,) of the observations of a model."""
    found, row = np.empty(len(model.point)), 0
    for block in point_blocks(model):
        found[row : row + len(block.point)] = reprojection_errors_px(model_rays(block), block.xyz)
        row += len(block.point)
    return found


def model_angles_deg(model: Model) -> Floats:
    """The (nearly) widest angle (P,) between two rays of each point."""
    return np.concatenate([widest_angles_deg(model_rays(m), m.xyz) for m in point_blocks(model)] or [np.zeros(0)])


def mean_distances(model: Model) -> Floats:
    """Mean distance (P,) of each point from the cameras that see it; NaN for one that none sees."""
    if not len(model.point):
        return np.full(len(model.xyz), np.nan)
    centres, count = camera_centres(stack_poses(model.cam_from_world)), len(model.xyz)
    away = np.linalg.norm(model.xyz[model.point] - centres[model.frame], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(model.point, away, count) / np.bincount(model.point, minlength=count))
