"""Exact truth from any picture: a frame against a randomly bent copy of itself."""

import cv2
import numpy as np

from dd_sfm.training.augment import elastic_map
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair import PairSample


class WarpSource:
    """A frame and a smoothly bent copy; the crops of a training pair add a homography and new light to either."""

    def __init__(self, frames: WorkingFrames, points: int = 1500, bend_px: float = 18.0) -> None:
        self.frames, self.points, self.bend_px = frames, points, bend_px

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A frame and its bent copy; a gap has no meaning here."""
        k = int(rng.integers(len(self.frames)))
        image, mask = self.frames.image(k), self.frames.mask(k)
        height, width = mask.shape
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        origin = np.stack([column, row], -1) + elastic_map(rng, height, width, rng.uniform(0, self.bend_px))
        bent = cv2.remap(image, origin, None, cv2.INTER_LINEAR)
        bent_mask = cv2.remap(mask.astype(np.uint8), origin, None, cv2.INTER_NEAREST) > 0
        inside = np.argwhere(bent_mask)
        if not len(inside):
            empty = np.zeros((0, 2))
            return PairSample(image, bent, mask, bent_mask, empty, empty)
        rows, columns = inside[rng.integers(len(inside), size=self.points)].T
        there = np.stack([columns, rows], 1).astype(np.float64)
        return PairSample(image, bent, mask, bent_mask, origin[rows, columns].astype(np.float64), there)
