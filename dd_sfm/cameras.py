"""Cameras and poses: how points become pixels, and pixels become rays.

Pixels are (x, y) with their centres at integers. A pose is a (3, 4) float64 array [R | t] named ``cam_from_world``: a
world point X lies at R X + t in the camera, whose axes point right, down and forward. Stages exchange poses as such
arrays, by the position of their frame in a dict or stacked to (N, 3, 4); the functions below take either shape where
they say (..., 3, 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import ShapeError
from dd_sfm.ops.coordinates import resize_xy

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
"""Any array of real numbers; what is computed from it is float64."""


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera without distortion; pixels have their centres at integers.

    ``width`` and ``height`` of its images in pixels; focal lengths ``fx, fy`` and principal point ``cx, cy`` in pixels,
    the latter 0.5 smaller than COLMAP's. ``is_guess`` marks a camera that was assumed from the field of view.
    ``focal_sigma``: relative standard deviation of the focal length where there was no calibration; 0 where there was
    one, and of a guess of which nothing is known.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    is_guess: bool = False
    focal_sigma: float = 0.0

    @classmethod
    def from_matrix(cls, matrix: Numbers, size: tuple[int, int]) -> "PinholeCamera":
        """The camera of a calibration matrix K (3, 3) without skew and of a (width, height).

        Raises:
            ShapeError: If the matrix is not (3, 3).
        """
        if matrix.shape != (3, 3):
            raise ShapeError(f"matrix {matrix.shape}; expected (3, 3)")
        fx, fy, cx, cy = float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
        return cls(size[0], size[1], fx, fy, cx, cy)

    @property
    def is_free(self) -> bool:
        """Whether mapping and adjustment may refine the focal length."""
        return self.is_guess and not self.focal_sigma

    @property
    def is_calibrated(self) -> bool:
        """Whether the camera is that of a calibration."""
        return not self.is_guess and not self.focal_sigma

    @property
    def matrix(self) -> Floats:
        """Calibration matrix K (3, 3) float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def focal(self) -> Floats:
        """Focal lengths (2,) float64 along x and y, in pixels."""
        return np.array([self.fx, self.fy], np.float64)

    @property
    def principal_point(self) -> Floats:
        """Pixel (2,) float64 that looks straight ahead."""
        return np.array([self.cx, self.cy], np.float64)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    def project(self, points_cam: Numbers) -> tuple[Floats, Floats]:
        """Project points given in the camera's axes; those at or behind its plane have no pixel.

        Args:
            points_cam: (..., 3).

        Returns:
            Pixels (..., 2) float64, NaN where the depth is 0 or less, and depths (...) float64. Pixels may lie outside
            the image.

        Raises:
            ShapeError: If the last axis has not 3 entries.
        """
        _check_last(points_cam, 3, "points_cam")
        points = np.asarray(points_cam, np.float64)
        depth = points[..., 2]
        return self.denormalise(points[..., :2] / np.where(depth > 0, depth, np.nan)[..., None]), depth

    def normalise(self, xy: Numbers) -> Floats:
        """Where pixels (..., 2) look in the plane at depth 1: x / z and y / z (..., 2) float64."""
        _check_last(xy, 2, "xy")
        return (np.asarray(xy, np.float64) - self.principal_point) / self.focal

    def denormalise(self, normalised: Numbers) -> Floats:
        """Pixels (..., 2) float64 of places (..., 2) in the plane at depth 1; inverse of :meth:`normalise`."""
        _check_last(normalised, 2, "normalised")
        return np.asarray(normalised, np.float64) * self.focal + self.principal_point

    def unproject(self, xy: Numbers, depth: Numbers | float | None = None) -> Floats:
        """Points in the camera's axes that pixels show.

        Args:
            xy: Pixels (..., 2).
            depth: Distances (...) from the camera's plane, or one for all; None for 1, which makes them rays.

        Returns:
            (..., 3) float64.
        """
        flat = self.normalise(xy)
        rays = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], -1)
        return rays if depth is None else rays * np.asarray(depth, np.float64)[..., None]

    def scaled(self, scale: float) -> "PinholeCamera":
        """The camera of images resized by ``scale``: pixel x lands at (x + 0.5) * scale - 0.5, sizes are rounded."""
        cx, cy = resize_xy(self.principal_point, scale)
        return replace(
            self,
            width=round(self.width * scale),
            height=round(self.height * scale),
            fx=self.fx * scale,
            fy=self.fy * scale,
            cx=float(cx),
            cy=float(cy),
        )

    def cropped(self, origin: tuple[float, float], size: tuple[int, int]) -> "PinholeCamera":
        """The camera of a part of its images.

        Args:
            origin: Pixel (x, y) that becomes (0, 0); it may lie outside the image.
            size: Width and height of the part.
        """
        return replace(self, width=size[0], height=size[1], cx=self.cx - origin[0], cy=self.cy - origin[1])

    def fitted(self, size: tuple[int, int]) -> "PinholeCamera":
        """The camera of a picture of another (width, height) with the same centre.

        It shows all of the camera's image, and more at two sides when the shapes differ.
        """
        scale = min(size[0] / self.width, size[1] / self.height)
        border = (self.width * scale - size[0]) / 2, (self.height * scale - size[1]) / 2
        return self.scaled(scale).cropped(border, size)


def world_to_camera(points: Numbers, cam_from_world: Numbers) -> Floats:
    """World points (N, 3) in the axes of a camera (3, 4), or of one camera each (N, 3, 4); (N, 3) float64."""
    if cam_from_world.ndim == 2:
        return np.asarray(points @ cam_from_world[:, :3].T + cam_from_world[:, 3], np.float64)
    turned = np.einsum("nij,nj->ni", cam_from_world[:, :, :3], points)
    return np.asarray(turned + cam_from_world[:, :, 3], np.float64)


def camera_to_world(points_cam: Numbers, cam_from_world: Numbers) -> Floats:
    """Points (N, 3) in the axes of a camera (3, 4) as world points (N, 3) float64."""
    return np.asarray((points_cam - cam_from_world[:, 3]) @ cam_from_world[:, :3], np.float64)


def camera_centres(cam_from_world: Numbers) -> Floats:
    """Where cameras (..., 3, 4) stand in the world: -R^T t, (..., 3) float64."""
    _check_poses(cam_from_world)
    return np.asarray(-np.einsum("...ji,...j->...i", cam_from_world[..., :3], cam_from_world[..., 3]), np.float64)


def pose_at(rotation: Numbers, centre: Numbers) -> Floats:
    """Poses [R | -R c] (..., 3, 4) of cameras with rotations R (..., 3, 3) of cam_from_world and centres c (..., 3)."""
    return np.concatenate([rotation, -(rotation @ centre[..., None])], -1, dtype=np.float64)


def inverse_pose(pose: Numbers) -> Floats:
    """The way back: world_from_cam of cam_from_world and the other way round, (..., 3, 4) float64."""
    _check_poses(pose)
    return pose_at(np.swapaxes(pose[..., :3], -1, -2), pose[..., 3])


def relative_pose(first: Numbers, second: Numbers) -> Floats:
    """From the second cameras' axes to the first ones': first o second^-1, all (..., 3, 4), float64."""
    _check_poses(first)
    _check_poses(second)
    rotation = first[..., :3] @ np.swapaxes(second[..., :3], -1, -2)
    shift = first[..., 3] - np.einsum("...ij,...j->...i", rotation, second[..., 3])
    return np.concatenate([rotation, shift[..., None]], -1, dtype=np.float64)


def rotation_angles_deg(rotations: Numbers) -> Floats:
    """Angles (...) float64 in degrees, 0 to 180, of rotations (..., 3, 3)."""
    across = np.stack(
        [
            rotations[..., 2, 1] - rotations[..., 1, 2],
            rotations[..., 0, 2] - rotations[..., 2, 0],
            rotations[..., 1, 0] - rotations[..., 0, 1],
        ],
        -1,
    )
    # Twice the sine and twice the cosine: the arc cosine alone would lose small angles to rounding.
    cosine = np.trace(rotations, axis1=-2, axis2=-1) - 1
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(across, axis=-1), cosine)), np.float64)


def stack_poses(cam_from_world: Mapping[int, Numbers]) -> Floats:
    """A table (F, 3, 4) float64 of poses by frame position; F is the last position + 1, rows without a pose are 0.

    At least one row, so that it can be indexed by no frame at all.
    """
    table = np.zeros((max(cam_from_world, default=0) + 1, 3, 4))
    for position, pose in cam_from_world.items():
        table[position] = pose
    return table


def _check_last(values: Numbers, count: int, name: str) -> None:
    if not values.ndim or values.shape[-1] != count:
        raise ShapeError(f"{name} {values.shape}; expected (..., {count})")


def _check_poses(poses: Numbers) -> None:
    if poses.shape[-2:] != (3, 4):
        raise ShapeError(f"poses {poses.shape}; expected (..., 3, 4)")
