"""Pictures of point clouds without a display: points as discs, nearer ones in front."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray

OVERSAMPLING = 2
NEAR_SHARE = 1e-3


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
    """Draw points.

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
    picture = np.full((height * width, 3), background, np.uint8)
    local = xyz @ view.cam_from_world[:, :3].T + view.cam_from_world[:, 3]
    depth = local[:, 2]
    rows = np.flatnonzero(depth > NEAR_SHARE * max(float(np.abs(depth).max(initial=0.0)), 1e-12))
    # Painted far to near: what is painted last stays.
    rows = rows[np.argsort(-depth[rows], kind="stable")]
    flat = local[rows, :2] / depth[rows, None]
    xy = (flat * view.focal_px + np.array(view.centre) + 0.5) * OVERSAMPLING - 0.5
    reach = int(np.ceil(radius_px * OVERSAMPLING))
    near = (xy > -reach).all(1) & (xy < [width + reach, height + reach]).all(1)
    rows, xy = rows[near], np.round(xy[near]).astype(np.int64)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(dx, dy) <= radius_px * OVERSAMPLING
    across = xy[:, :1] + dx[disc]
    down = xy[:, 1:] + dy[disc]
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    point = np.broadcast_to(rows[:, None], inside.shape)[inside]
    picture[down[inside] * width + across[inside]] = rgb[point]
    return cv2.resize(picture.reshape(height, width, 3), view.size, interpolation=cv2.INTER_AREA)


def look_at(title: str, position: FloatArray, target: FloatArray, down: FloatArray, size: tuple[int, int]) -> Viewpoint:
    """A viewpoint with 40 degrees across the height that looks at a point."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = size[1] / 2 / np.tan(np.radians(20))
    pose = np.column_stack([rotation, -rotation @ position])
    return Viewpoint(title, pose, float(focal), ((size[0] - 1) / 2, (size[1] - 1) / 2), size)
