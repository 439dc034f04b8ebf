"""Where a cloud is seen from, and smooth pictures of it from there."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray, PinholeCamera
from dd_sfm.viz.splat import colour, project, rasterise, scaled_camera
from dd_sfm.viz.viewpoints import FIELD_OF_VIEW_DEG, Viewpoint

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
    size = view.camera.width, view.camera.height
    camera = scaled_camera(view.camera, size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
    radii = np.full(len(xyz), radius_px * OVERSAMPLING)
    buffer = rasterise(project(xyz, camera, view.cam_from_world), camera, radii)
    picture = colour(buffer, rgb, (background, background, background))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def look_at(position: FloatArray, target: FloatArray, down: FloatArray, size: tuple[int, int]) -> Viewpoint:
    """A viewpoint that looks at a point, of pictures of a size (width, height)."""
    width, height = size
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = height / 2 / float(np.tan(np.radians(FIELD_OF_VIEW_DEG / 2)))
    camera = PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    return Viewpoint(camera, np.column_stack([rotation, -rotation @ position]))
