"""Poses of frames between key frames: points of both are followed into them by optical flow, and resected.

Sparse pyramidal flow (Lucas and Kanade; Bouguet 2001) from where the poses of the key frames predict the points.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from dd_sfm.cameras import PinholeCamera
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.sfm.registration import resected
from dd_sfm.structures import FloatArray

HEIGHT_PX = 400
"""Height of the pictures that points are followed in: enough for a pose, and a fraction of the time."""
POINTS = 400
"""Of a key frame that are followed."""
CELLS = 20
"""Parts of the picture along each side from which they are taken in turn."""
WINDOW, LEVELS = 17, 3
RETURNS_PX = 1.0
"""A point that is followed forth and back returns this near to where it started."""
MAX_ERROR_PX = 2.0
"""Largest reprojection error of an inlier, in pixels of the pictures that points are followed in."""
MIN_INLIERS, MIN_RATIO = 30, 0.4

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class KeyView:
    """A key frame: its place in time, picture (h, w), pose (3, 4), and where its points (N, 3) are seen (N, 2)."""

    number: int
    grey: Grey
    cam_from_world: FloatArray
    xyz: FloatArray
    xy: FloatArray


@dataclass(frozen=True)
class FoundPose:
    """A pose cam_from_world (3, 4), and how many points agree with it."""

    cam_from_world: FloatArray
    inliers: int


class FrameTracker:
    """Finds the poses of frames between two key frames.

    Args:
        camera: Of the frames; they are resized to ``HEIGHT_PX``, if they are larger.
        seed: Of the random choices.
    """

    def __init__(self, camera: PinholeCamera, seed: int) -> None:
        self.scale = min(1.0, HEIGHT_PX / camera.height)
        self.size = round(camera.width * self.scale), round(camera.height * self.scale)
        cx, cy = resize_xy(np.array([camera.cx, camera.cy]), self.scale)
        focal = camera.fx * self.scale, camera.fy * self.scale
        self.camera = PinholeCamera(*self.size, *focal, float(cx), float(cy))
        self.seed = seed

    def small(self, image: NDArray[Any]) -> Grey:
        """A frame (H, W, 3), RGB, as points are followed in it."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return grey if self.scale == 1.0 else np.asarray(cv2.resize(grey, self.size, interpolation=cv2.INTER_AREA))

    def key_view(
        self, number: int, image: NDArray[Any], cam_from_world: FloatArray, xyz: FloatArray, xy: FloatArray
    ) -> KeyView:
        """A key frame with some of its points, evenly from all over the picture; ``xy`` in pixels of the frame."""
        small = resize_xy(xy, self.scale).astype(np.float32)
        chosen = spread_points(small, self.size, POINTS)
        return KeyView(number, self.small(image), cam_from_world, xyz[chosen], small[chosen])

    def pose(self, number: int, image: NDArray[Any], keys: list[KeyView], near: FloatArray) -> FoundPose | None:
        """The pose of a frame (H, W, 3); None where too few points agree.

        Args:
            number: Its place in time.
            image: RGB, without distortion.
            keys: Key frames next to it.
            near: A pose (3, 4) that it is expected near to.
        """
        grey = self.small(image)
        found = [self._followed(key, grey, near) for key in keys]
        xy, xyz = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if len(xy) < MIN_INLIERS:
            return None
        pose, inliers = resected(xy.astype(np.float64), xyz, self.camera, MAX_ERROR_PX, self.seed)
        if pose is None or inliers < max(MIN_INLIERS, MIN_RATIO * len(xy)):
            return None
        return FoundPose(pose, inliers)

    def _followed(self, key: KeyView, grey: Grey, near: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where points of a key frame are in another one (M, 2), and which points (M, 3)."""
        if not len(key.xyz):
            return key.xy, key.xyz
        expected, depth = self.camera.project(key.xyz @ near[:, :3].T + near[:, 3])
        inside = (depth > 0) & ((expected >= 0) & (expected < self.size)).all(1)
        start, guess = key.xy[inside], expected[inside].astype(np.float32)
        if not len(start):
            return start, key.xyz[inside]
        settings: dict[str, Any] = {
            "winSize": (WINDOW, WINDOW),
            "maxLevel": LEVELS,
            "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
        }
        there, is_there, _ = cv2.calcOpticalFlowPyrLK(key.grey, grey, start, guess.copy(), **settings)
        back, is_back, _ = cv2.calcOpticalFlowPyrLK(grey, key.grey, there, start.copy(), **settings)
        returns = np.linalg.norm(back - start, axis=1) <= RETURNS_PX
        good = (is_there.ravel() > 0) & (is_back.ravel() > 0) & returns
        return there[good], key.xyz[inside][good]


def spread_points(xy: FloatArray, size: tuple[int, int], most: int) -> NDArray[np.int64]:
    """Rows of at most ``most`` of some points (N, 2), the first ones of every part of the picture in turn."""
    cell = np.clip((xy / size * CELLS).astype(np.int64), 0, CELLS - 1)
    number = cell[:, 0] * CELLS + cell[:, 1]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], number[order])
    turn = np.arange(len(xy)) - starts
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def between(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """The pose (3, 4) at some share of the way from one pose to another."""
    turned = Slerp([0, 1], Rotation.from_matrix(np.stack([first[:, :3], second[:, :3]])))([share]).as_matrix()[0]
    centres = [-pose[:, :3].T @ pose[:, 3] for pose in (first, second)]
    centre = (1 - share) * centres[0] + share * centres[1]
    return np.column_stack([turned, -turned @ centre])
