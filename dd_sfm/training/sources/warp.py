"""Training pairs from single frames: a frame and a randomly warped copy, whose correspondences are exact."""

import cv2
import numpy as np

from dd_sfm.training.augment import elastic_map
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair_sample import PairSample


class WarpSource:
    """A frame and a smoothly warped copy; each crop of a training pair adds a homography and photometric changes."""

    def __init__(self, frames: WorkingFrames, points: int = 1500, warp_px: float = 18.0) -> None:
        self.frames, self.points, self.warp_px = frames, points, warp_px

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A frame and its warped copy; a gap has no meaning here."""
        k = int(rng.integers(len(self.frames)))
        image, mask = self.frames.image(k), self.frames.mask(k)
        height, width = mask.shape
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        origin = np.stack([column, row], -1) + elastic_map(rng, height, width, rng.uniform(0, self.warp_px))
        warped = cv2.remap(image, origin, None, cv2.INTER_LINEAR)
        warped_mask = cv2.remap(mask.astype(np.uint8), origin, None, cv2.INTER_NEAREST) > 0
        inside = np.argwhere(warped_mask)
        if not len(inside):
            empty = np.zeros((0, 2))
            return PairSample(image, warped, mask, warped_mask, empty, empty)
        rows, columns = inside[rng.integers(len(inside), size=self.points)].T
        there = np.stack([columns, rows], 1).astype(np.float64)
        return PairSample(image, warped, mask, warped_mask, origin[rows, columns].astype(np.float64), there)
