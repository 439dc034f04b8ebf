"""Viewpoints of pictures: views of the whole cloud by name, or one of its cameras."""

import re
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.errors import InputError, UsageError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.cloud_view import CloudView

FIELD_OF_VIEW_DEG = 40.0
BULK_CELLS = 12
"""The longest side of a cloud is divided into this many cells to find its bulk (:func:`bulk_points`)."""
MIN_CELL_SHARE = 1e-4
"""A cell counts when it holds this share of the points: single strays do not, the sparse ends of the cloud do."""
MIN_BULK_POINTS = 200
"""Clouds of fewer points have no strays: all of them are the bulk."""
# Rows: right, down and forward axis of the view, in the axes of the mean camera.
VIEWS = {
    "front": np.eye(3),
    "top": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "side": np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
    "oblique": Rotation.from_euler("yx", [-28, -18], degrees=True).as_matrix().T,
}


@dataclass(frozen=True)
class Viewpoint:
    """The camera of a picture and its pose ``cam_from_world`` (3, 4)."""

    camera: PinholeCamera
    cam_from_world: FloatArray


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Parse a width and height such as 1280x720.

    Raises:
        UsageError: If the text is no size, or a side is not between 16 and 8192 pixels.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if not match:
        raise UsageError(f"{option} {text}: not a size; expected WIDTHxHEIGHT in pixels, such as 1280x720")
    width, height = int(match[1]), int(match[2])
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise UsageError(f"{option} {text}: expected 16 to 8192 pixels a side, such as 1280x720")
    return width, height


def parse_views(text: str) -> list[str]:
    """Parse a list of views such as front,side."""
    return [name.strip() for name in text.split(",")]


def parse_camera_view(name: str) -> int | None:
    """Frame number N of a view camera:N; None for other views."""
    match = re.fullmatch(r"camera:(\d+)", name)
    return int(match[1]) if match else None


def viewing_axes(cam_from_world: FloatArray) -> FloatArray:
    """Axes (3, 3) of the mean of cameras (C, 3, 4) in the world; the rows are right, down and forward.

    Without cameras they are the axes of the world.
    """
    if not len(cam_from_world):
        return np.eye(3)
    u, _, vt = np.linalg.svd(cam_from_world[:, :, :3].sum(0))
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def find_viewpoint(name: str, cloud: CloudView, points: FloatArray, width: int, height: int) -> Viewpoint:
    """Find the viewpoint of a named view.

    Args:
        name: front, top, side, oblique, or camera:N with the frame number N.
        cloud: The cloud whose cameras define the views.
        points: Points (N, 3) that a view of the whole must show.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    Raises:
        UsageError: If the name is unknown.
        InputError: If frame N has no pose.
    """
    if name in VIEWS:
        return overview(VIEWS[name] @ viewing_axes(cloud.cam_from_world), cloud, points, width, height)
    number = parse_camera_view(name)
    if number is None:
        raise UsageError(
            f"--view {name}: unknown; expected front, top, side, oblique or camera:N with a frame number N"
        )
    if number in cloud.between and number not in cloud.frame_numbers:
        # All frames of a run have one camera.
        return Viewpoint(cloud.images[0].camera.fitted((width, height)), cloud.between[number])
    index = camera_index(cloud, number)
    return Viewpoint(cloud.images[index].camera.fitted((width, height)), cloud.cam_from_world[index])


def first_view(cloud: CloudView, points: FloatArray) -> str:
    """Which of the views of the whole to begin with: front, unless the bulk of points (N, 3) is shorter another way.

    Along a tube, in which the cameras look, one would look into its end; so it is seen across its shortest side.
    """
    across, down, along = np.ptp(bulk_points(points) @ viewing_axes(cloud.cam_from_world).T, axis=0)
    if along <= min(across, down):
        return "front"
    return "top" if down < across else "side"


def camera_index(cloud: CloudView, number: int) -> int:
    """Index of the camera of a frame number.

    Raises:
        InputError: If that frame has no pose.
    """
    if number in cloud.frame_numbers:
        return cloud.frame_numbers.index(number)
    known = f"{cloud.frame_numbers[0]} to {cloud.frame_numbers[-1]}" if cloud.images else "none"
    if cloud.images:
        known += f"; the nearest is {min(cloud.frame_numbers, key=lambda other: abs(other - number))}"
    raise InputError(
        f"--view camera:{number}: frame {number} has no pose in {cloud.source}; expected a registered frame "
        f"({len(cloud.images)} are: {known})"
    )


def overview(axes: FloatArray, cloud: CloudView, points: FloatArray, width: int, height: int) -> Viewpoint:
    """The closest viewpoint that shows the bulk of the points (N, 3) and all cameras, along the third of the axes.

    A mesh has no strays, so all of it is shown.
    """
    framed = points if len(cloud.faces) else bulk_points(points)
    return fit_view(axes, np.concatenate([framed, camera_centres(cloud.cam_from_world)]), (width, height))


def look_along(forward: FloatArray, down: FloatArray) -> FloatArray:
    """Axes (3, 3) of a view along ``forward`` (3,), ``down`` (3,) downwards; the rows are right, down and forward."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def fit_view(axes: FloatArray, points: FloatArray, size: tuple[int, int]) -> Viewpoint:
    """The closest viewpoint that shows all ``points`` (N, 3), along the third of ``axes`` (3, 3).

    ``size`` is the width and height of the picture in pixels.
    """
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


def bulk_points(points: FloatArray) -> FloatArray:
    """The points (M, 3) of a cloud (N, 3) without strays.

    They lie in the box around all cells that hold enough points (:data:`MIN_CELL_SHARE`, and at least 2). Where no cell
    does, all points are returned.
    """
    if len(points) < MIN_BULK_POINTS:
        return points
    low, high = np.percentile(points, (1, 99), axis=0)
    size = max(float((high - low).max()) / BULK_CELLS, 1e-12)
    # Strays that are far away fall into the outermost cells, which do not count.
    cell_xyz = np.clip(np.floor((points - low) / size), -BULK_CELLS, 2 * BULK_CELLS).astype(np.int64) + BULK_CELLS
    _, cell, count = np.unique(
        cell_xyz @ [1, 4 * BULK_CELLS, 16 * BULK_CELLS**2], return_inverse=True, return_counts=True
    )
    filled = (count >= max(2, MIN_CELL_SHARE * len(points)))[cell] & ((cell_xyz > 0) & (cell_xyz < 3 * BULK_CELLS)).all(
        1
    )
    if not filled.any():
        return points
    low, high = points[filled].min(0) - size / 2, points[filled].max(0) + size / 2
    return points[((points >= low) & (points <= high)).all(1)]
