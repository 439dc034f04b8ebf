"""The picture of a frame as a rectangle in the scene, before the frame's camera."""

from dataclasses import dataclass

import numpy as np

from dd_sfm.cameras import PinholeCamera, camera_centres, camera_to_world
from dd_sfm.structures import FloatArray

MARGIN = 1.02
"""The view is so much wider than the picture."""


@dataclass(frozen=True)
class PicturePlane:
    """A picture that exactly fills the field of view of its camera, wherever the principal point is.

    ``camera`` and ``cam_from_world`` (3, 4): of the frame; ``depth``: how far before the camera the picture stands, in
    scene units. Pixels are those of the frame, the first one's centre at (0, 0).
    """

    camera: PinholeCamera
    cam_from_world: FloatArray
    depth: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in scene units."""
        width, height = self.camera.size / self.camera.focal * self.depth
        return float(width), float(height)

    @property
    def centre(self) -> FloatArray:
        """The middle of the picture (3,) in the world."""
        return self.places((np.array([self.camera.size], np.float64) - 1) / 2)[0]

    def places(self, xy: FloatArray, share: float = 1.0) -> FloatArray:
        """Where pixels (N, 2) are in the world (N, 3), at a share of the picture's distance from the camera."""
        return camera_to_world(self.camera.unproject(xy, share * self.depth), self.cam_from_world)

    def pixel(self, origin: FloatArray, direction: FloatArray) -> FloatArray | None:
        """The pixel (2,) where a ray (3,) from a place (3,) of the world meets the picture; None where it does not."""
        rotation, shift = self.cam_from_world[:, :3], self.cam_from_world[:, 3]
        start, along = rotation @ origin + shift, rotation @ direction
        if abs(along[2]) < 1e-12 * float(np.linalg.norm(along)):
            return None
        away = (self.depth - start[2]) / along[2]
        xy = self.camera.denormalise((start + away * along)[:2] / self.depth)
        inside = bool(((xy >= -0.5) & (xy <= np.array(self.camera.size) - 0.5)).all())
        return xy if away > 0 and inside else None

    def view(self, aspect: float) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """A view from the frame's camera, along its optical axis, that shows the whole picture.

        Args:
            aspect: Width over height of the view.

        Returns:
            Where it looks from, at what, and its upper direction (3,) each, and its vertical angle in radians.
        """
        corners = np.array([[-0.5, -0.5], np.array(self.camera.size) - 0.5])
        reach = np.abs(self.camera.normalise(corners)).max(0)
        half = MARGIN * max(float(reach[1]), float(reach[0]) / aspect)
        centre = camera_centres(self.cam_from_world[None])[0]
        forward, up = self.cam_from_world[2, :3], -self.cam_from_world[1, :3]
        return centre, centre + self.depth * forward, up, float(2 * np.arctan(half))
