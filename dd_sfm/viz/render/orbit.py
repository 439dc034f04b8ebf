"""Move a view around a cloud with the mouse: rotate, pan, roll, zoom, and pick the point under the pointer."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_to_world
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.splat import Projected, project
from dd_sfm.viz.render.viewpoints import Viewpoint

DEG_PER_WINDOW = 180.0
"""Rotation by a drag across the height of the window."""
ZOOM_STEP = 0.88
"""Factor on the distance for a step of the wheel."""
PICK_RADIUS_PX = 6.0
"""Largest distance of a picked point from the pointer."""


@dataclass(frozen=True)
class Orbit:
    """A view that rotates about a point.

    ``axes`` (3, 3): the rows are right, down and forward; ``pivot`` (3,): the point, at ``distance`` in front.
    """

    camera: PinholeCamera
    axes: FloatArray
    pivot: FloatArray
    distance: float

    @property
    def viewpoint(self) -> Viewpoint:
        """The camera and its pose."""
        shift = -self.axes @ self.pivot + [0.0, 0.0, self.distance]
        return Viewpoint(self.camera, np.column_stack([self.axes, shift]))

    def turned(self, dx: float, dy: float) -> "Orbit":
        """Rotate about the pivot after a drag by pixels; what is in front of the pivot follows the pointer."""
        angle = DEG_PER_WINDOW / self.camera.height
        turn = Rotation.from_euler("yx", [-dx * angle, dy * angle], degrees=True).as_matrix()
        return replace(self, axes=_orthonormal(turn @ self.axes))

    def rolled(self, dx: float) -> "Orbit":
        """Roll about the viewing direction after a drag by pixels."""
        angle = dx * DEG_PER_WINDOW / self.camera.height
        return replace(self, axes=_orthonormal(Rotation.from_euler("z", angle, degrees=True).as_matrix() @ self.axes))

    def shifted(self, dx: float, dy: float) -> "Orbit":
        """Pan after a drag by pixels; the pivot follows the pointer."""
        step = np.array([dx, dy]) / self.camera.focal * self.distance
        return replace(self, pivot=self.pivot - step @ self.axes[:2])

    def zoomed(self, steps: float) -> "Orbit":
        """Zoom in by steps of the wheel."""
        return replace(self, distance=self.distance * ZOOM_STEP**steps)

    def resized(self, width: int, height: int) -> "Orbit":
        """Fit a window of another size, with the same vertical field of view."""
        scale = height / self.camera.height
        return replace(self, camera=_centred(replace(self.camera.scaled(scale), width=width, height=height)))


def orbit_from_viewpoint(viewpoint: Viewpoint, points: FloatArray) -> Orbit:
    """An orbit that starts at a viewpoint, at the median depth of the points (N, 3) that are in the picture."""
    projected = project(points, viewpoint.camera, viewpoint.cam_from_world)
    with np.errstate(invalid="ignore"):
        in_picture = ((projected.xy >= 0) & (projected.xy < viewpoint.camera.size)).all(1)
    distance = float(np.median(projected.depth[in_picture])) if in_picture.any() else 1.0
    pivot = camera_to_world(np.array([0.0, 0.0, distance]), viewpoint.cam_from_world)
    return Orbit(_centred(viewpoint.camera), viewpoint.cam_from_world[:, :3], pivot, distance)


def _centred(camera: PinholeCamera) -> PinholeCamera:
    """The camera with its principal point in the centre of the picture."""
    return replace(camera, cx=(camera.width - 1) / 2, cy=(camera.height - 1) / 2)


def point_at(projected: Projected, x: float, y: float) -> int | None:
    """Index of the nearest of the points within :data:`PICK_RADIUS_PX` of a pixel; None if there is none."""
    with np.errstate(invalid="ignore"):
        near: IntArray = np.flatnonzero(np.hypot(projected.xy[:, 0] - x, projected.xy[:, 1] - y) <= PICK_RADIUS_PX)
    return int(near[np.argmin(projected.depth[near])]) if len(near) else None


def _orthonormal(axes: FloatArray) -> FloatArray:
    """The nearest rotation matrix, as rounding errors add up over many small rotations."""
    u, _, vt = np.linalg.svd(axes)
    return u @ vt
