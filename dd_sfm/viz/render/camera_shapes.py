"""Cameras as things to draw: their path, the outlines of their views, and small pictures in them."""

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
from dd_sfm.viz.render.cloud_view import Shown
from dd_sfm.viz.render.colours import Scale

PICTURE_WIDTH = 64
MOST_OUTLINES = 10
MOST_PICTURES = 6


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


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` of ``count`` positions, evenly spread, both ends among them."""
    return sorted({round(v) for v in np.linspace(0, count - 1, min(count, most))}) if count else []


def camera_lines(
    shown: Shown, depth: float, rgb: tuple[int, int, int] | None = None, *, outlines: int = MOST_OUTLINES
) -> Lines:
    """The path through all cameras and the outlines of some.

    Args:
        shown: Whose cameras.
        depth: Length of an outline, in scene units.
        rgb: Colour of all; None colours from the first to the last.
        outlines: Of how many cameras, at most.
    """
    count = len(shown.images)
    colours = Scale("", 0, max(count - 1, 1), "plasma").rgb(np.arange(count))
    if rgb is not None:
        colours[:] = rgb
    centres = camera_centres(shown.cam_from_world)
    ends = [np.stack([centres[:-1], centres[1:]], 1)] if count > 1 else []
    owners = [np.arange(count - 1)] if count > 1 else []
    for k in spread(count, outlines):
        corners = _plane(
            shown.images[k].camera, shown.cam_from_world[k], depth, np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
        )
        spokes = np.stack([np.broadcast_to(centres[k], corners.shape), corners], 1)
        ends += [spokes, np.stack([corners, np.roll(corners, -1, axis=0)], 1)]
        owners.append(np.full(8, k))
    if not ends:
        return Lines(np.zeros((0, 2, 3)), np.zeros((0, 3), np.uint8))
    return Lines(np.concatenate(ends), colours[np.concatenate(owners)])


def camera_pictures(shown: Shown, depth: float, places: Sequence[int] | None = None) -> Pictures:
    """Small pictures where the outlines end; images that are missing or cannot be read are left out.

    Args:
        shown: Whose cameras.
        depth: How far from the camera, in scene units.
        places: Which cameras; None for some that are evenly spread.
    """
    vertices, colours, triangles, total = [], [], [], 0
    for k in spread(len(shown.images), MOST_PICTURES) if places is None else places:
        found = _small_image(shown.images[k])
        if found is None:
            continue
        image, usable = found
        height, width = usable.shape
        rows, columns = np.mgrid[:height, :width]
        share = np.stack([columns.ravel() / (width - 1), rows.ravel() / (height - 1)], 1)
        vertices.append(_plane(shown.images[k].camera, shown.cam_from_world[k], depth, share))
        colours.append(image.reshape(-1, 3))
        grid = _grid_triangles(height, width)
        triangles.append(grid[usable.ravel()[grid].all(1)] + total)
        total += height * width
    return Pictures(
        np.concatenate([np.zeros((0, 3)), *vertices]),
        np.concatenate([np.zeros((0, 3), np.uint8), *colours]),
        np.concatenate([np.zeros((0, 3), np.int64), *triangles]),
    )


def _small_image(image: SceneImage) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """The image at :data:`PICTURE_WIDTH`, and which of its pixels (h, w) are in the field of view."""
    if image.path is None:
        return None
    try:
        picture = read_image(image.path)
        mask = read_mask(image.mask_path) if image.mask_path else np.ones(picture.shape[:2], bool)
    except InputError:
        return None
    size = (PICTURE_WIDTH, max(2, round(PICTURE_WIDTH * picture.shape[0] / picture.shape[1])))
    usable = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), usable


def _plane(camera: PinholeCamera, cam_from_world: FloatArray, depth: float, share: FloatArray) -> FloatArray:
    """World points (N, 3) in the plane at ``depth``, at shares (N, 2) of the picture's width and height."""
    pixel = share * camera.size - 0.5
    return camera_to_world(camera.unproject(pixel, depth), cam_from_world)


def _grid_triangles(height: int, width: int) -> IntArray:
    corner = (np.arange(height - 1)[:, None] * width + np.arange(width - 1)).ravel()
    upper = np.stack([corner, corner + 1, corner + width], 1)
    lower = np.stack([corner + 1, corner + width + 1, corner + width], 1)
    return np.concatenate([upper, lower])
