"""Undoing lens distortion through COLMAP's camera models."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray

import dd_sfm.io.colmap_signals  # noqa: F401
from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.calibration import Calibration
from dd_sfm.ops.coordinates import from_colmap, to_colmap


@dataclass(frozen=True)
class Undistortion:
    """The pinhole camera of the undistorted frames, and where each of their pixels lies in the original.

    ``map_xy`` (H, W, 2) float32, pixel centres at integers, and ``lens``, what it undoes; None when the lens has no
    distortion.
    """

    camera: PinholeCamera
    map_xy: NDArray[np.float32] | None
    lens: Calibration | None = None

    def apply(self, image: NDArray[Any], *, nearest: bool = False) -> NDArray[Any]:
        """Undistort an image (H, W[, 3]); outside the original it becomes black."""
        if self.map_xy is None:
            return image
        return cv2.remap(image, self.map_xy, None, cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)


def undistortion(calibration: Calibration) -> Undistortion:
    """Plan the undistortion of frames of this calibration: same size, same focal length and centre."""
    fx, fy, cx, cy = calibration.focal_and_centre
    centre = from_colmap(np.array([cx, cy]))
    camera = PinholeCamera(calibration.width, calibration.height, fx, fy, float(centre[0]), float(centre[1]))
    if calibration.model in ("PINHOLE", "SIMPLE_PINHOLE"):
        return Undistortion(camera, None)
    lens = pycolmap.Camera(
        model=calibration.model, width=calibration.width, height=calibration.height, params=list(calibration.params)
    )
    column, row = np.meshgrid(np.arange(calibration.width), np.arange(calibration.height))
    rays = np.stack([(column - camera.cx) / fx, (row - camera.cy) / fy, np.ones(column.shape)], -1).reshape(-1, 3)
    places = np.asarray(lens.img_from_cam(rays), np.float64)
    # A ray that the model cannot project has no place in the original: far outside, so it turns black.
    places = from_colmap(np.nan_to_num(places, nan=-1e4, posinf=-1e4, neginf=-1e4))
    map_xy = places.reshape(calibration.height, calibration.width, 2).astype(np.float32)
    return Undistortion(camera, map_xy, calibration)


def distort(calibration: Calibration, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where pixels (N, 2) of the undistorted frame lie in the original, centres at integers."""
    fx, fy, cx, cy = calibration.focal_and_centre
    lens = pycolmap.Camera(
        model=calibration.model, width=calibration.width, height=calibration.height, params=list(calibration.params)
    )
    local = (to_colmap(xy) - [cx, cy]) / [fx, fy]
    return from_colmap(np.asarray(lens.img_from_cam(np.column_stack([local, np.ones(len(local))])), np.float64))
