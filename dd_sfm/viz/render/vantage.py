"""Smooth pictures of a cloud from a viewpoint."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.splat import colour, project, rasterise
from dd_sfm.viz.render.viewpoints import Viewpoint

OVERSAMPLING = 2


def splat(
    xyz: FloatArray, rgb: NDArray[np.uint8], view: Viewpoint, *, radius_px: float = 1.5, background: int = 255
) -> NDArray[np.uint8]:
    """Draw points as discs, drawn larger and averaged, so that edges are smooth.

    Args:
        xyz: Points (P, 3).
        rgb: Their colours (P, 3).
        view: Where from.
        radius_px: Radius of a point's disc in pixels of the picture.
        background: Grey level where there is no point.

    Returns:
        (H, W, 3) uint8.
    """
    size = view.camera.size
    camera = view.camera.fitted((size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    radii = np.full(len(xyz), radius_px * OVERSAMPLING)
    buffer = rasterise(project(xyz, camera, view.cam_from_world), camera, radii)
    picture = colour(buffer, rgb, (background, background, background))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
