"""Undoing lens distortion through COLMAP's camera models."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.calibration import Calibration
from dd_sfm.io.colmap import pycolmap
from dd_sfm.ops.coordinates import from_colmap


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
    if calibration.model in ("PINHOLE", "SIMPLE_PINHOLE"):
        return Undistortion(calibration.pinhole, None)
    column, row = np.meshgrid(np.arange(calibration.width), np.arange(calibration.height))
    places = distort(calibration, np.stack([column, row], -1).reshape(-1, 2))
    # A ray that the model cannot project has no place in the original: far outside, so it turns black.
    places = np.nan_to_num(places, nan=-1e4, posinf=-1e4, neginf=-1e4)
    map_xy = places.reshape(calibration.height, calibration.width, 2).astype(np.float32)
    return Undistortion(calibration.pinhole, map_xy, calibration)


def distort(calibration: Calibration, xy: NDArray[Any]) -> NDArray[np.float64]:
    """Where pixels (N, 2) of the undistorted frame lie in the original, centres at integers; NaN where they do not."""
    lens = pycolmap.Camera(
        model=calibration.model, width=calibration.width, height=calibration.height, params=list(calibration.params)
    )
    return from_colmap(np.asarray(lens.img_from_cam(calibration.pinhole.unproject(xy)), np.float64))
