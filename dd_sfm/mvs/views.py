"""Images with poses in working pixels, and which of them a reference frame is searched in."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres, camera_to_world, relative_pose, world_to_camera
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.structures import Model

ANGLES_DEG = (1.5, 3.0, 5.0, 7.5, 10.5, 14.0, 18.0)
"""Triangulation angles that views are looked for at, to each side in time."""
VIEW_MARGIN_PX = 5.0
"""Working pixels from the rim of an image within which a point does not count as seen."""
NEXT_FRAMES = 2
"""Frames with a pose to each side of a reference that come next to it."""
SAMPLE, SAMPLE_MARGIN = 100, 0.5
"""Points that tell which frames may see enough of a reference, and the share of what is enough that they must see."""


class PosedViews:
    """Grey images and poses of a reconstruction; pixels and ``camera`` are those of the working image.

    Args:
        images: The run's frames.
        model: Poses, camera and points.
    """

    def __init__(self, images: GreyImages, model: Model) -> None:
        self.images, self.model, self.grid = images, model, images.grid
        self.camera = images.grid.camera(model.camera)
        self.poses = model.cam_from_world
        self.centres = {frame: camera_centres(pose) for frame, pose in self.poses.items()}
        self._stacked = np.array(list(self.poses.values())).reshape(-1, 3, 4)
        order = np.argsort(model.frame, kind="stable")
        used, starts = np.unique(model.frame[order], return_index=True)
        parts = np.split(model.point[order], starts[1:]) if len(used) else []
        self.points_seen = dict(zip(used.tolist(), parts, strict=True))

    def image(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Grey (H, W) and usable area (H, W)."""
        return self.images[frame]

    def project(self, points: NDArray[Any], frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Working pixels (N, 2), NaN behind the camera, and depths (N,) of points (N, 3)."""
        return self.camera.project(world_to_camera(points, self.poses[frame]))

    def inside(self, xy: NDArray[Any], margin: float) -> NDArray[np.bool_]:
        """Which working pixels (N, 2) lie in the image."""
        limit = np.array(self.camera.size) - margin
        return np.asarray(((xy > margin) & (xy < limit)).all(1))

    def overlaps(self, points: NDArray[Any], margin: float) -> NDArray[np.float64]:
        """Share (F,) of points (N, 3) that lie in the image of each frame with a pose, in the order of ``poses``."""
        places = np.einsum("fij,nj->fni", self._stacked[:, :, :3], points) + self._stacked[:, None, :, 3]
        xy, depth = self.camera.project(places.reshape(-1, 3))
        seen = (depth > 0) & self.inside(xy, margin)
        return np.asarray(seen.reshape(len(self._stacked), -1).mean(1))

    def transfers(self, frame: int, views: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A (V, 3, 3) and b (V, 3) of :mod:`dd_sfm.mvs.kernels.depth_search`."""
        matrix = self.camera.matrix
        inverse = np.linalg.inv(matrix)
        moved = [relative_pose(self.poses[v], self.poses[frame]) for v in views]
        matrices = [matrix @ pose[:, :3] @ inverse for pose in moved]
        return np.array(matrices, np.float32), np.array([matrix @ pose[:, 3] for pose in moved], np.float32)

    def world(self, frame: int, pixels: NDArray[Any], inverse_depth: NDArray[Any]) -> NDArray[np.float64]:
        """Points (N, 3) of working pixels (N, 2) at inverse depths (N,) > 0."""
        return camera_to_world(self.camera.unproject(pixels) / inverse_depth[:, None], self.poses[frame])


def choose_views(views: PosedViews, frame: int, least_overlap: float = 0.25) -> tuple[int, ...]:
    """Choose the frames that see what a reference sees, at angles of 1.5 to 18 degrees on both sides in time."""
    points = views.model.xyz[views.points_seen[frame]]
    if len(points) > 2000:
        points = points[:: len(points) // 2000 + 1]
    own = points - views.centres[frame]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    angles = {}
    # Most frames of a long video see nothing of this one: few points tell.
    likely = views.overlaps(points[:: len(points) // SAMPLE + 1], VIEW_MARGIN_PX) >= SAMPLE_MARGIN * least_overlap
    for other, is_likely in zip(views.poses, likely, strict=True):
        if other == frame or not is_likely:
            continue
        xy, depth = views.project(points, other)
        seen = (depth > 0) & views.inside(xy, VIEW_MARGIN_PX)
        if seen.mean() < least_overlap:
            continue
        ray = points[seen] - views.centres[other]
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        cosine = np.clip((own[seen] * ray).sum(1), -1, 1)
        angles[other] = math.degrees(float(np.median(np.arccos(cosine))))
    chosen = []
    for side in (-1, 1):
        left = {f: a for f, a in angles.items() if (f - frame) * side > 0}
        for wanted in ANGLES_DEG:
            best = min(left, key=lambda f: abs(left[f] - wanted), default=None)
            if best is not None and abs(left[best] - wanted) < max(1.0, 0.35 * wanted):
                chosen.append(best)
                del left[best]
    return tuple(chosen)


def next_frames(views: PosedViews, frame: int, chosen: Sequence[int]) -> tuple[int, ...]:
    """The frames next to a reference in time, two to each side, that are not among the views chosen for it."""
    ordered = sorted(views.poses)
    place = ordered.index(frame)
    around = ordered[max(0, place - NEXT_FRAMES) : place + NEXT_FRAMES + 1]
    return tuple(other for other in around if other != frame and other not in chosen)
