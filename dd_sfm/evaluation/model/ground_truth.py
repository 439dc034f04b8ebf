"""Look up the ground truth of a rendered clip for the frames and pixels of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.truth import RenderedTruth
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.structures import FloatArray


@dataclass(frozen=True)
class GroundTruthLookup:
    """Ground truth of a rendered clip, asked for by the frames and pixels of a run on it.

    ``clip_frame``: number in the clip of each frame of the run; ``run_width``: width of the run's frames in pixels;
    ``undistortion``: how the run's frames were freed of the clip's distortion, at any image size; None for none.
    """

    truth: RenderedTruth
    clip_frame: Mapping[int, int]
    run_width: int
    undistortion: Undistortion | None = None

    def to_clip_pixels(self, xy: FloatArray) -> FloatArray:
        """Map pixels (N, 2) of the run's frames to pixels (N, 2) of the clip's depth maps."""
        width = self.truth.depth.shape[2]
        undone = self.undistortion
        if undone is None or undone.lens is None or not len(xy):
            return resize_xy(xy, width / self.run_width)
        distorted = undone.to_source(resize_xy(xy, undone.camera.width / self.run_width))
        return resize_xy(distorted, width / undone.lens.width)

    def has_depth(self, frame: int) -> bool:
        """Whether the true depth of a frame of the run is known."""
        return self.clip_frame.get(frame) in self.truth.depth_frames.tolist()

    def check_matches(
        self, first: int, second: int, xy0: FloatArray, xy1: FloatArray, max_error_px: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Check matches between two frames of the run; none can be checked where the tissue moves between frames.

        Args:
            first: Number of the first frame.
            second: Number of the second frame.
            xy0: Matched pixels (N, 2) in the first frame.
            xy1: Matched pixels (N, 2) in the second frame.
            max_error_px: Largest error of a correct match, in pixels of the clip.

        Returns:
            Which matches (N,) bool are correct, and which (N,) bool could be checked.
        """
        source, target = self.clip_frame.get(first), self.clip_frame.get(second)
        none = np.zeros(len(xy0), bool)
        if source is None or target is None or not self.has_depth(first) or target >= len(self.truth.cam_from_world):
            return none, none
        if self.truth.deformation > 0:
            return none, none
        expected, checked = self.truth.correspondences(source, target, self.to_clip_pixels(xy0))
        error = np.linalg.norm(np.nan_to_num(expected, nan=1e9) - self.to_clip_pixels(xy1), axis=1)
        return checked & (error <= max_error_px), checked
