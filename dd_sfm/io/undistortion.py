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

    def apply(self, image: NDArray[Any], *, nearest: bool = False) -> NDArray[Any]:
        """Undistort an image (H, W[, 3]); outside the original it becomes black."""
        if self.map_xy is None:
            return image
        return cv2.remap(image, self.map_xy, None, cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)


def undistortion(lens: Lens) -> Undistortion:
    """Plan the undistortion of frames of a lens: same size, same focal length and centre."""
    return Undistortion(lens.pinhole, lens if lens.has_distortion else None)
