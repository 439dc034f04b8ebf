"""Where the frames and pixels of a run lie in a rendered clip."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.calibration import Calibration
from dd_sfm.io.colmap_camera import distort
from dd_sfm.io.truth import RenderedTruth
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.structures import FloatArray


@dataclass(frozen=True)
class InTruth:
    """A run's view of the truth.

    ``number``: of a frame of the run in the clip; ``width`` of the run's frames; ``lens``: what bent the clip's pixels
    and is undone in the run's, None for none, at the size of either.
    """

    truth: RenderedTruth
    number: Mapping[int, int]
    width: int
    lens: Calibration | None = None

    def pixels(self, xy: FloatArray) -> FloatArray:
        """Pixels (N, 2) of the run's frames as pixels of the clip's depth."""
        width = self.truth.depth.shape[2]
        if self.lens is None or not len(xy):
            return resize_xy(xy, width / self.width)
        bent = distort(self.lens, resize_xy(xy, self.lens.width / self.width))
        return resize_xy(bent, width / self.lens.width)

    def has_depth(self, frame: int) -> bool:
        """Whether the true depth of a frame of the run is known."""
        return self.number.get(frame) in self.truth.depth_frames.tolist()

    def matches_within(
        self, first: int, second: int, xy0: FloatArray, xy1: FloatArray, limit_px: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which matches (N,) of two frames of the run are right within pixels of the clip, and which can be judged:
        none where the tissue moves between frames.
        """  # fmt: skip
        source, target = self.number.get(first), self.number.get(second)
        nothing = np.zeros(len(xy0), bool)
        if source is None or target is None or not self.has_depth(first) or target >= len(self.truth.cam_from_world):
            return nothing, nothing
        if self.truth.deformation > 0:
            return nothing, nothing
        there, judged = self.truth.correspondences(source, target, self.pixels(xy0))
        error = np.linalg.norm(np.nan_to_num(there, nan=1e9) - self.pixels(xy1), axis=1)
        return judged & (error <= limit_px), judged
