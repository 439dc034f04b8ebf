"""The radial distortion of rendered clips: OpenCV's k1 and k2."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera


def distort(flat: NDArray[np.float64], distortion: NDArray[Any]) -> NDArray[np.float64]:
    """Where a lens (k1, k2, ...) puts places (N, 2) of the plane z = 1."""
    k1, k2 = distortion[:2]
    squared = (flat**2).sum(1, keepdims=True)
    return np.asarray(flat * (1 + k1 * squared + k2 * squared**2))


def distort_in_view(flat: NDArray[np.float64], distortion: NDArray[Any]) -> NDArray[np.float64]:
    """The same, NaN where the polynomial has turned back: far outside the field, where nothing is seen."""
    k1, k2 = distortion[:2]
    squared = (flat**2).sum(1, keepdims=True)
    turned = 1 + 3 * k1 * squared + 5 * k2 * squared**2 <= 0
    return np.where(turned, np.nan, distort(flat, distortion))


def project_distorted(
    points_cam: NDArray[Any], camera: PinholeCamera, distortion: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels (N, 2) and depths (N,) of points (N, 3) in the axes of a camera with distortion (4,), or none.

    Pixels are NaN at and behind the camera's plane, and where nothing is seen (:func:`distort_in_view`).
    """
    xy, depth = camera.project(points_cam)
    if distortion.any():
        xy = camera.denormalise(distort_in_view(camera.normalise(xy), distortion))
    return xy, depth


def undistort(xy: NDArray[Any], camera: PinholeCamera, distortion: NDArray[Any]) -> NDArray[np.float64]:
    """Places (N, 2) of the plane z = 1 that pixels (N, 2) of a camera with distortion (4,) show.

    Only right where the polynomial does not turn back: :func:`distort` tells.
    """
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10)
    places = np.ascontiguousarray(xy, np.float64)[:, None]
    flat = cv2.undistortPoints(places, camera.matrix, distortion, None, np.eye(3), np.eye(3), criteria)
    return np.asarray(flat[:, 0], np.float64)
