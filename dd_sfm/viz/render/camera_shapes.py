"""Geometry of cameras to draw: their path, view frustums, and small pictures at the ends of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres, camera_to_world
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.scene import SceneImage
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.cloud_view import CloudView
from dd_sfm.viz.render.colours import ColourScale

THUMBNAIL_WIDTH_PX = 64
MAX_FRUSTUMS = 10
MAX_PICTURES = 6


@dataclass(frozen=True)
class Lines:
    """Line segments ``ends`` (S, 2, 3) with colours ``rgb`` (S, 3) uint8."""

    ends: FloatArray
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Images as meshes: ``vertices`` (V, 3), ``rgb`` (V, 3) uint8, ``triangles`` (T, 3)."""

    vertices: FloatArray
    rgb: NDArray[np.uint8]
    triangles: IntArray


def evenly_spread(count: int, at_most: int) -> list[int]:
    """At most ``at_most`` of the indices below ``count``, evenly spread, the first and the last among them."""
    return sorted({round(v) for v in np.linspace(0, count - 1, min(count, at_most))}) if count else []


def camera_lines(
    cloud: CloudView, depth: float, rgb: tuple[int, int, int] | None = None, *, frustums: int = MAX_FRUSTUMS
) -> Lines:
    """Lines along the path of all cameras, and around the view frustums of some.

    Args:
        cloud: The cloud whose cameras are drawn.
        depth: Length of a frustum in scene units.
        rgb: Colour of all lines; None for colours from the first camera to the last.
        frustums: Largest number of frustums.
    """
    count = len(cloud.images)
    colours = ColourScale("", 0, max(count - 1, 1), "plasma").rgb(np.arange(count))
    if rgb is not None:
        colours[:] = rgb
    centres = camera_centres(cloud.cam_from_world)
    ends = [np.stack([centres[:-1], centres[1:]], 1)] if count > 1 else []
    owners = [np.arange(count - 1)] if count > 1 else []
    for k in evenly_spread(count, frustums):
        corners = _image_plane(
            cloud.images[k].camera, cloud.cam_from_world[k], depth, np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
        )
        spokes = np.stack([np.broadcast_to(centres[k], corners.shape), corners], 1)
        ends += [spokes, np.stack([corners, np.roll(corners, -1, axis=0)], 1)]
        owners.append(np.full(8, k))
    if not ends:
        return Lines(np.zeros((0, 2, 3)), np.zeros((0, 3), np.uint8))
    return Lines(np.concatenate(ends), colours[np.concatenate(owners)])


def camera_pictures(cloud: CloudView, depth: float, indices: Sequence[int] | None = None) -> Pictures:
    """Small pictures at the ends of the frustums; images that are missing or cannot be read are left out.

    Args:
        cloud: The cloud whose cameras are drawn.
        depth: Distance of a picture from its camera in scene units.
        indices: Indices of the cameras; None for some that are evenly spread.
    """
    vertices, colours, triangles, total = [], [], [], 0
    for k in evenly_spread(len(cloud.images), MAX_PICTURES) if indices is None else indices:
        found = small_image(cloud.images[k], THUMBNAIL_WIDTH_PX)
        if found is None:
            continue
        image, usable = found
        height, width = usable.shape
        rows, columns = np.mgrid[:height, :width]
        uv = np.stack([columns.ravel() / (width - 1), rows.ravel() / (height - 1)], 1)
        vertices.append(_image_plane(cloud.images[k].camera, cloud.cam_from_world[k], depth, uv))
        colours.append(image.reshape(-1, 3))
        grid = _grid_triangles(height, width)
        triangles.append(grid[usable.ravel()[grid].all(1)] + total)
        total += height * width
    return Pictures(
        np.concatenate([np.zeros((0, 3)), *vertices]),
        np.concatenate([np.zeros((0, 3), np.uint8), *colours]),
        np.concatenate([np.zeros((0, 3), np.int64), *triangles]),
    )


def small_image(image: SceneImage, width: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """The image (h, w, 3), ``width`` pixels wide, and its field of view (h, w); None if it cannot be read."""
    if image.path is None:
        return None
    try:
        picture = read_image(image.path)
        mask = read_mask(image.mask_path) if image.mask_path else np.ones(picture.shape[:2], bool)
    except InputError:
        return None
    size = (width, max(2, round(width * picture.shape[0] / picture.shape[1])))
    usable = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), usable


def _image_plane(camera: PinholeCamera, cam_from_world: FloatArray, depth: float, uv: FloatArray) -> FloatArray:
    """World points (N, 3) at a depth, seen at ``uv`` (N, 2) in shares of the image's width and height."""
    pixel = uv * camera.size - 0.5
    return camera_to_world(camera.unproject(pixel, depth), cam_from_world)


def _grid_triangles(height: int, width: int) -> IntArray:
    """Triangles (T, 3) between the points of a grid, as indices in row order."""
    corner = (np.arange(height - 1)[:, None] * width + np.arange(width - 1)).ravel()
    upper = np.stack([corner, corner + 1, corner + width], 1)
    lower = np.stack([corner + 1, corner + width + 1, corner + width], 1)
    return np.concatenate([upper, lower])
