"""The lens models that a board is fitted with, as OpenCV projects them, with their derivatives.

Parameters are fx, fy, cx, cy and the distortion coefficients in OpenCV's order; pixel centres are at integers.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LensModel:
    """A model: its name for users, that of COLMAP's camera that it is read back as, its coefficients' names."""

    name: str
    colmap: str
    coefficients: tuple[str, ...]
    is_fisheye: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return ("fx", "fy", "cx", "cy", *self.coefficients)

    def radial(self, distortion: Floats) -> Floats:
        """Coefficients c of the radial polynomial x (1 + c0 x^2 + c1 x^4 + ...).

        x is the angle from the axis for a fisheye, its tangent otherwise.
        """
        return distortion if self.is_fisheye else distortion[[0, 1, *range(4, len(distortion))]]


PINHOLE = LensModel("pinhole, k1 k2 p1 p2", "OPENCV", ("k1", "k2", "p1", "p2"))
PINHOLE_K3 = LensModel("pinhole, k1 k2 p1 p2 k3", "FULL_OPENCV", ("k1", "k2", "p1", "p2", "k3"))
FISHEYE = LensModel("fisheye, k1 k2 k3 k4", "OPENCV_FISHEYE", ("k1", "k2", "k3", "k4"), is_fisheye=True)
MODELS = {"pinhole": (PINHOLE, PINHOLE_K3), "fisheye": (FISHEYE,), "auto": (PINHOLE, PINHOLE_K3, FISHEYE)}
"""Models by what ``--model`` says, the simpler one first."""


def project(model: LensModel, params: Floats, pose: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Project points, with derivatives.

    Args:
        model: The lens model.
        params: Its parameters (P,).
        pose: Rotation vector and translation (6,) of cam_from_world.
        points: (N, 3).

    Returns:
        Pixels (N, 2), their derivatives by the pose (N, 2, 6) and by the parameters (N, 2, P).
    """
    matrix = camera_matrix(params)
    if model.is_fisheye:
        xy, jacobian = cv2.fisheye.projectPoints(
            np.ascontiguousarray(points[:, None]), pose[:3], pose[3:], matrix, params[4:]
        )[:2]
        by = jacobian.reshape(len(points), 2, -1)
        # OpenCV's columns: f, c, k, rotation, translation, skew.
        by_pose, by_params = by[:, :, 8:14], by[:, :, :8]
    else:
        xy, jacobian = cv2.projectPoints(points, pose[:3], pose[3:], matrix, params[4:])[:2]
        by = jacobian.reshape(len(points), 2, -1)
        by_pose, by_params = by[:, :, :6], by[:, :, 6 : 6 + len(params)]
    return np.asarray(xy, np.float64).reshape(-1, 2), by_pose, by_params


def camera_matrix(params: Floats) -> Floats:
    """Calibration matrix (3, 3) of parameters."""
    return np.array([[params[0], 0, params[2]], [0, params[1], params[3]], [0, 0, 1.0]])


def turning_radius(model: LensModel, distortion: Floats) -> tuple[float, float]:
    """Where the radial polynomial turns back.

    Returns:
        The angle from the axis in radians, and the radius in units of the focal length; both infinite where the
        polynomial rises as far as the model reaches, half a sphere for a fisheye.
    """
    c = model.radial(distortion)
    # d/dx x (1 + c0 x^2 + ...) as a polynomial of x^2.
    slope = np.array([1.0, *(c * (2 * np.arange(len(c)) + 3))])
    roots = np.roots(slope[::-1])
    real = roots[np.isreal(roots)].real
    positive = real[real > 0]
    if not len(positive):
        return np.inf, np.inf
    x = float(np.sqrt(positive.min()))
    angle = x if model.is_fisheye else float(np.arctan(x))
    if model.is_fisheye and angle >= np.pi:
        return np.inf, np.inf
    return angle, distorted_radius(model, distortion, np.array([x]))[0]


def distorted_radius(model: LensModel, distortion: Floats, x: Floats) -> Floats:
    """Radii in units of the focal length of x (see :meth:`LensModel.radial`), without tangential distortion."""
    c = model.radial(distortion)
    powers = x[:, None] ** (2 * np.arange(len(c)) + 2)
    return np.asarray(x * (1 + powers @ c), np.float64)


def angles_of(model: LensModel, params: Floats, xy: Floats) -> Floats:
    """Angles (N,) in radians from the axis of what pixels (N, 2) show, radial distortion alone; NaN beyond the turn."""
    radius = np.linalg.norm((xy - params[2:4]) / params[:2], axis=1)
    angle, _ = turning_radius(model, params[4:])
    limit = min(angle, np.radians(110) if model.is_fisheye else np.radians(85))
    table = np.linspace(0, limit, 4000)
    x = table if model.is_fisheye else np.tan(table)
    return np.asarray(np.interp(radius, distorted_radius(model, params[4:], x), table, right=np.nan), np.float64)
