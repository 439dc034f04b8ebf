"""Which places of a surface are in view of which cameras."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres, world_to_camera
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.rays import RayScene
from dd_sfm.structures import FloatArray, IntArray

MAX_SLANT_DEG = 80.0
"""What is seen at a larger angle from its normal is not in view: nothing could be made out on it."""
SAME_PLACE = 0.97
"""A ray that ends at this share of the way to a place, or beyond, has come to it."""


@dataclass(frozen=True)
class Posed:
    """A frame that looks at a surface: its camera, pose (3, 4), and usable pixels (H, W) bool."""

    camera: PinholeCamera
    cam_from_world: FloatArray
    usable: NDArray[np.bool_]


@dataclass(frozen=True)
class Sight:
    """``seen`` (K, V) bool: whether each camera has each vertex in view; ``distance`` (K, V) float32 of all of them."""

    seen: NDArray[np.bool_]
    distance: NDArray[np.float32]

    @property
    def views(self) -> IntArray:
        """How many cameras have a vertex in view (V,)."""
        return np.asarray(self.seen.sum(0))

    @property
    def nearest(self) -> FloatArray:
        """Distance (V,) of the nearest camera that has a vertex in view; inf without any."""
        return np.asarray(np.where(self.seen, self.distance, np.inf).min(0, initial=np.inf))


def sight(vertices: FloatArray, faces: IntArray, normals: FloatArray, frames: Iterable[Posed], reach: float) -> Sight:
    """Find what frames have in view: within reach, not too flat, inside the usable pixels, and behind nothing else.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        normals: (V, 3), towards the side from which the surface is looked at.
        frames: The frames.
        reach: Largest distance from a camera.
    """
    scene, seen, away = RayScene(vertices, faces), [], []
    flattest = np.cos(np.radians(MAX_SLANT_DEG))
    for frame in frames:
        centre = camera_centres(frame.cam_from_world[None])[0]
        ray = vertices - centre
        distance = np.linalg.norm(ray, axis=1)
        near = np.flatnonzero((-(ray * normals).sum(1) > flattest * distance) & (distance < reach))
        xy, depth = frame.camera.project(world_to_camera(vertices[near], frame.cam_from_world))
        near = near[(depth > 0) & inside_mask(frame.usable, np.where(depth[:, None] > 0, xy, np.nan))]
        found = np.zeros(len(vertices), bool)
        if len(near):
            found[near] = scene.distance(centre, ray[near]) > SAME_PLACE
        seen.append(found)
        away.append(distance.astype(np.float32))
    count = len(vertices)
    return Sight(np.array(seen, bool).reshape(-1, count), np.array(away, np.float32).reshape(-1, count))
