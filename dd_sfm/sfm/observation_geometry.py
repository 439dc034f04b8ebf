"""What is measured at every observation of a model."""

import numpy as np

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
