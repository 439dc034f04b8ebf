"""Undoing lens distortion."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.lens import Lens

NOWHERE = -1e4
"""A place far outside every picture, for rays that a lens does not show: they turn black."""
KEPT, AIM = 0.95, 0.96
"""Shares of the field: frames that keep the first stay as they are; others are made to keep the second."""
WIDEST_DEG = 70.0
"""Off the axis: further out a flat picture takes many pixels for little. 70 degrees are 2.7 focal lengths away."""
MAX_OF_SOURCE, MAX_OF_FIELD = 2.0, 2.5
"""Pixels of an undistorted frame, by those of the source's frame and of the box around the field in it."""
SAMPLES = 20_000


@dataclass(frozen=True)
class Undistortion:
    """The pinhole camera of undistorted frames, and the lens of the frames they are made of.

    ``lens`` is None where there is no distortion to undo; frames are then left as they are.
    """

    camera: PinholeCamera
    lens: Lens | None = None

    @cached_property
    def map_xy(self) -> NDArray[np.float32] | None:
        """Where each undistorted pixel lies in the original (H, W, 2) float32; None when there is nothing to undo."""
        if self.lens is None:
            return None
        column, row = np.meshgrid(np.arange(self.camera.width), np.arange(self.camera.height))
        places = self.to_source(np.stack([column, row], -1).reshape(-1, 2))
        return np.nan_to_num(places, nan=NOWHERE).reshape(*column.shape, 2).astype(np.float32)

    def to_source(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Where pixels (N, 2) of the undistorted frame lie in the original; NaN where the lens shows nothing."""
        if self.lens is None:
            return np.asarray(xy, np.float64)
        return self.lens.project(self.camera.unproject(xy))[0]

    @property
    def scale(self) -> float:
        """Pixels of the undistorted frame per pixel of the source, at the centre."""
        return 1.0 if self.lens is None else self.camera.fx / self.lens.pinhole.fx

    def shares(self, field: NDArray[np.bool_]) -> tuple[float, float]:
        """What is left of an area (H, W) bool of the source.

        Returns:
            The share of it that the undistorted frame shows, of what the lens shows; and the share that the lens shows.
        """
        if self.lens is None:
            return 1.0, 1.0
        rays = self.lens.unproject(_sample(field))
        has_ray = np.isfinite(rays).all(1)
        shown = _share_inside(self.camera, rays[has_ray]) if has_ray.any() else 0.0
        return shown, float(has_ray.mean())

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Undistort an image (H, W[, 3]); outside the original it becomes black."""
        return image if self.map_xy is None else cv2.remap(image, self.map_xy, None, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Undistort an area (H, W) bool of the original, which ends where the original does."""
        if self.map_xy is None:
            return mask
        return np.asarray(cv2.remap(mask.astype(np.uint8), self.map_xy, None, cv2.INTER_NEAREST) > 0)


def undistortion(lens: Lens, field: NDArray[np.bool_] | None = None) -> Undistortion:
    """Plan the undistortion of frames of a lens.

    Where frames of the same size, focal length and centre keep nearly all of the field, they are taken. For wider
    lenses it is the smallest frame that keeps it, as far as a flat picture can, at the focal length of the lens; where
    that would be a much larger frame, it is coarser.

    Args:
        lens: The lens.
        field: What of the source's frames is used, (H, W) bool; None for all of it.
    """
    plain = Undistortion(lens.pinhole, lens if lens.has_distortion else None)
    if not lens.has_distortion:
        return plain
    pixels = _sample(np.ones((lens.height, lens.width), bool) if field is None else field)
    rays = lens.unproject(pixels)
    rays = rays[np.isfinite(rays).all(1)]
    if not len(rays) or _share_inside(plain.camera, rays) >= KEPT:
        return plain
    extent = np.ptp(pixels, axis=0) + 1
    most = min(MAX_OF_SOURCE * lens.width * lens.height, MAX_OF_FIELD * float(extent[0] * extent[1]))
    return Undistortion(_camera_around(rays, lens.pinhole, most), lens)


def _camera_around(rays: NDArray[np.float64], pinhole: PinholeCamera, most: float) -> PinholeCamera:
    """The camera of the smallest frame that shows enough of the rays (N, 3), with at most some number of pixels."""
    angle = np.degrees(np.arccos(rays[:, 2]))
    for widest in np.linspace(WIDEST_DEG / 20, WIDEST_DEG, 200):
        shown = rays[angle <= widest]
        if not len(shown):
            continue
        flat = shown[:, :2] / shown[:, 2:]
        low, high = flat.min(0), flat.max(0)
        size = (high - low) * pinhole.focal
        scale = min(1.0, float(np.sqrt(most / max(1.0, size[0] * size[1]))))
        width, height = (2 * int(np.ceil((n * scale + 1) / 2)) for n in size)
        focal, centre = pinhole.focal * scale, -low * pinhole.focal * scale
        fx, fy, cx, cy = map(float, (*focal, *centre))
        camera = PinholeCamera(width, height, fx, fy, cx, cy)
        if _share_inside(camera, rays) >= AIM:
            break
    return camera


def _share_inside(camera: PinholeCamera, rays: NDArray[np.float64]) -> float:
    """The share of rays (N, 3) that have a pixel within the camera's frame."""
    xy, _ = camera.project(rays)
    return float(((xy >= -0.5) & (xy < np.subtract(camera.size, 0.5))).all(1).mean())


def _sample(field: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels (N, 2) spread evenly over an area, some ten thousand."""
    step = max(1, int(np.sqrt(field.size / SAMPLES)))
    rows, columns = np.nonzero(field[step // 2 :: step, step // 2 :: step])
    return np.column_stack([columns, rows]).astype(np.float64) * step + step // 2
