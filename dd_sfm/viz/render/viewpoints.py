"""Where a picture is taken from: views of the whole cloud by name, or one of its cameras."""

import re
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.errors import InputError, UsageError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.cloud_view import Shown

FIELD_OF_VIEW_DEG = 40.0
CELLS, LEAST = 12, 1e-4
"""A view of the whole holds every cell that has this share of the points, and 2 at least, where so many cells lie along
the cloud: strays do not make everything small, and its far ends, which are sparse, are not cut off.
"""  # fmt: skip
FEW = 200
"""So few points are all in the view."""
# Rows: right, down and forward of the view, in the axes of the mean camera.
VIEWS = {
    "front": np.eye(3),
    "top": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "side": np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
    "oblique": Rotation.from_euler("yx", [-28, -18], degrees=True).as_matrix().T,
}


@dataclass(frozen=True)
class Viewpoint:
    """A camera and its pose (3, 4) cam_from_world."""

    camera: PinholeCamera
    cam_from_world: FloatArray


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Width and height of a text such as 1280x720.

    Raises:
        UsageError: If it is none, or of a size that makes no picture.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if not match:
        raise UsageError(f"{option} {text}: not a size; expected WIDTHxHEIGHT in pixels, such as 1280x720")
    width, height = int(match[1]), int(match[2])
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise UsageError(f"{option} {text}: expected 16 to 8192 pixels a side, such as 1280x720")
    return width, height


def view_names(text: str) -> list[str]:
    """The views of a text such as front,side."""
    return [name.strip() for name in text.split(",")]


def viewing_axes(cam_from_world: FloatArray) -> FloatArray:
    """Rows: right, down and forward of the mean of cameras (C, 3, 4) in the world (3, 3), or the world's own."""
    if not len(cam_from_world):
        return np.eye(3)
    u, _, vt = np.linalg.svd(cam_from_world[:, :, :3].sum(0))
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def find_viewpoint(name: str, shown: Shown, points: FloatArray, width: int, height: int) -> Viewpoint:
    """The view of a name.

    Args:
        name: front, top, side, oblique, or camera:N with the frame number N.
        shown: Whose cameras count.
        points: What must be in a view of the whole (N, 3).
        width: Of the picture, in pixels.
        height: The same.

    Raises:
        UsageError: If the name is unknown.
        InputError: If frame N has no pose.
    """
    if name in VIEWS:
        return whole_view(VIEWS[name] @ viewing_axes(shown.cam_from_world), shown, points, width, height)
    match = re.fullmatch(r"camera:(\d+)", name)
    if not match:
        raise UsageError(
            f"--view {name}: unknown; expected front, top, side, oblique or camera:N with a frame number N"
        )
    place = camera_place(shown, int(match[1]))
    return Viewpoint(shown.images[place].camera.fitted((width, height)), shown.cam_from_world[place])


def camera_place(shown: Shown, number: int) -> int:
    """Which of the cameras is that of a frame number."""
    if number in shown.numbers:
        return shown.numbers.index(number)
    known = f"{shown.numbers[0]} to {shown.numbers[-1]}" if shown.images else "none"
    raise InputError(
        f"--view camera:{number}: frame {number} has no pose in {shown.source}; expected a registered frame "
        f"({len(shown.images)} are: {known})"
    )


def whole_view(axes: FloatArray, shown: Shown, points: FloatArray, width: int, height: int) -> Viewpoint:
    """Along the third of ``axes`` (3, 3), as close as the bulk of the points and all cameras stay in the picture.

    A mesh has no strays: all of it stays in the picture.
    """
    held = points if len(shown.faces) else bulk(points)
    return closest_view(axes, np.concatenate([held, camera_centres(shown.cam_from_world)]), (width, height))


def look_along(forward: FloatArray, down: FloatArray) -> FloatArray:
    """Axes (3, 3), rows right, down and forward, of a view along ``forward`` (3,) with ``down`` (3,) downwards."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def closest_view(axes: FloatArray, points: FloatArray, size: tuple[int, int]) -> Viewpoint:
    """Along the third of ``axes`` (3, 3), as close as all ``points`` (N, 3) stay in a picture of a size."""
    width, height = size
    focal = height / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
    camera = PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    turned = points @ axes.T
    middle = (turned.min(0) + turned.max(0)) / 2
    local = turned - middle
    reach = np.abs(local[:, :2]) / [width / 2 / focal, height / 2 / focal]
    distance = float((reach.max(1) - local[:, 2]).max()) * 1.08
    distance = max(distance, 1e-9, 1.02 * float(-local[:, 2].min()))
    return Viewpoint(camera, np.column_stack([axes, -middle + [0.0, 0.0, distance]]))


def bulk(points: FloatArray) -> FloatArray:
    """The points (N, 3) in the box around all cells with enough of them (:data:`LEAST`); all when no cell has."""
    if len(points) < FEW:
        return points
    low, high = np.percentile(points, (1, 99), axis=0)
    size = max(float((high - low).max()) / CELLS, 1e-12)
    # Strays far away share the cells at the rim, which do not count.
    place = np.clip(np.floor((points - low) / size), -CELLS, 2 * CELLS).astype(np.int64) + CELLS
    _, cell, count = np.unique(place @ [1, 4 * CELLS, 16 * CELLS**2], return_inverse=True, return_counts=True)
    filled = (count >= max(2, LEAST * len(points)))[cell] & ((place > 0) & (place < 3 * CELLS)).all(1)
    if not filled.any():
        return points
    low, high = points[filled].min(0) - size / 2, points[filled].max(0) + size / 2
    return points[((points >= low) & (points <= high)).all(1)]
