"""Where a cloud is seen from, and smooth pictures of it from there."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray, PinholeCamera
from dd_sfm.viz.splat import colour, project, rasterise

OVERSAMPLING = 2


@dataclass(frozen=True)
class Viewpoint:
    """Where a cloud is seen from: ``cam_from_world`` (3, 4), pixels with centres at integers."""

    title: str
    cam_from_world: FloatArray
    focal_px: float
    centre: tuple[float, float]
    size: tuple[int, int]
    """Width and height in pixels."""


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
    width, height = view.size[0] * OVERSAMPLING, view.size[1] * OVERSAMPLING
    focal = view.focal_px * OVERSAMPLING
    cx, cy = ((c + 0.5) * OVERSAMPLING - 0.5 for c in view.centre)
    camera = PinholeCamera(width, height, focal, focal, cx, cy)
    radii = np.full(len(xyz), radius_px * OVERSAMPLING)
    buffer = rasterise(project(xyz, camera, view.cam_from_world), camera, radii)
    picture = colour(buffer, rgb, (background, background, background))
    return np.asarray(cv2.resize(picture, view.size, interpolation=cv2.INTER_AREA))


def look_at(title: str, position: FloatArray, target: FloatArray, down: FloatArray, size: tuple[int, int]) -> Viewpoint:
    """A viewpoint with 40 degrees across the height that looks at a point."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = size[1] / 2 / np.tan(np.radians(20))
    pose = np.column_stack([rotation, -rotation @ position])
    return Viewpoint(title, pose, float(focal), ((size[0] - 1) / 2, (size[1] - 1) / 2), size)
