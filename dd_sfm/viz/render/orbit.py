"""Moving around a cloud with the mouse, in numbers: turn, shift, approach, and which point is under the pointer."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_to_world
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.splat import Projected, project
from dd_sfm.viz.render.viewpoints import Viewpoint

DEG_PER_WINDOW = 180.0
"""A drag across the window's height turns by this much."""
ZOOM_STEP = 0.88
PICK_RADIUS_PX = 6.0


@dataclass(frozen=True)
class Orbit:
    """A view that turns about ``pivot`` (3,) at ``distance`` in front; ``axes`` rows: right, down, forward (3, 3)."""

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
        """After a drag by pixels: what is near follows the pointer."""
        angle = DEG_PER_WINDOW / self.camera.height
        turn = Rotation.from_euler("yx", [-dx * angle, dy * angle], degrees=True).as_matrix()
        return replace(self, axes=_orthonormal(turn @ self.axes))

    def rolled(self, dx: float) -> "Orbit":
        """After a drag sideways: about the direction of view."""
        angle = dx * DEG_PER_WINDOW / self.camera.height
        return replace(self, axes=_orthonormal(Rotation.from_euler("z", angle, degrees=True).as_matrix() @ self.axes))

    def shifted(self, dx: float, dy: float) -> "Orbit":
        """After a drag by pixels: the pivot follows the pointer."""
        step = np.array([dx, dy]) / self.camera.focal * self.distance
        return replace(self, pivot=self.pivot - step @ self.axes[:2])

    def zoomed(self, steps: float) -> "Orbit":
        """Closer to the pivot by steps of the wheel."""
        return replace(self, distance=self.distance * ZOOM_STEP**steps)

    def resized(self, width: int, height: int) -> "Orbit":
        """For a window of another size: the height shows as much as before."""
        scale = height / self.camera.height
        return replace(self, camera=_centred(replace(self.camera.scaled(scale), width=width, height=height)))


def orbit_of(viewpoint: Viewpoint, points: FloatArray) -> Orbit:
    """An orbit that starts at a viewpoint, about the middle of those points (N, 3) that are in the picture."""
    places = project(points, viewpoint.camera, viewpoint.cam_from_world)
    with np.errstate(invalid="ignore"):
        seen = ((places.xy >= 0) & (places.xy < viewpoint.camera.size)).all(1)
    distance = float(np.median(places.depth[seen])) if seen.any() else 1.0
    pivot = camera_to_world(np.array([0.0, 0.0, distance]), viewpoint.cam_from_world)
    return Orbit(_centred(viewpoint.camera), viewpoint.cam_from_world[:, :3], pivot, distance)


def _centred(camera: PinholeCamera) -> PinholeCamera:
    """The camera with its principal point in the middle of the picture."""
    return replace(camera, cx=(camera.width - 1) / 2, cy=(camera.height - 1) / 2)


def point_at(places: Projected, x: float, y: float) -> int | None:
    """The nearest to the viewer of the points within :data:`PICK_RADIUS_PX` of a pixel, None without any."""
    with np.errstate(invalid="ignore"):
        near: IntArray = np.flatnonzero(np.hypot(places.xy[:, 0] - x, places.xy[:, 1] - y) <= PICK_RADIUS_PX)
    return int(near[np.argmin(places.depth[near])]) if len(near) else None


def _orthonormal(axes: FloatArray) -> FloatArray:
    """Many small turns add up rounding: the nearest rotation."""
    u, _, vt = np.linalg.svd(axes)
    return u @ vt
