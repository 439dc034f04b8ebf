"""The rows of each frame, in a column of frames that is in another order."""

import numpy as np

from dd_sfm.ops.slices import slices
from dd_sfm.structures import IntArray

ROWS = 250_000
"""Rows that are sorted at once."""


class FrameRows:
    """Finds the observations of a frame without looking at those of all others.

    ``frames``: those that have any, ascending.

    Args:
        frame: Of every row (O,): its position, or any other number of it.
    """

    def __init__(self, frame: IntArray) -> None:
        blocks = list(slices(len(frame), ROWS))
        parts = [np.unique(frame[block], return_counts=True) for block in blocks]
        self.frames = np.unique(np.concatenate([part[0] for part in parts])) if parts else np.zeros(0, frame.dtype)
        count = np.zeros(len(self.frames), np.int64)
        for own, counted in parts:
            count[np.searchsorted(self.frames, own)] += counted
        self._starts = np.concatenate([[0], np.cumsum(count)])
        self._order = np.empty(len(frame), np.uint32 if len(frame) < 2**32 else np.int64)
        # Block by block, so that beside four bytes a row little is in memory.
        free = self._starts[:-1].copy()
        for block, (own, counted) in zip(blocks, parts, strict=True):
            order = np.argsort(frame[block], kind="stable")
            place = np.searchsorted(self.frames, own)
            shift = free[place] - (np.cumsum(counted) - counted)
            self._order[np.arange(len(order)) + np.repeat(shift, counted)] = order + block.start
            free[place] += counted

    def of(self, frame: int) -> IntArray:
        """Rows of a frame, ascending."""
        return self._between(frame, frame + 1)

    def of_range(self, first: int, end: int) -> IntArray:
        """Rows of all frames from ``first`` to before ``end``, ascending."""
        return np.sort(self._between(first, end))

    def _between(self, first: int, end: int) -> IntArray:
        bounds = self._starts[np.searchsorted(self.frames, [first, end])]
        return self._order[bounds[0] : bounds[1]].astype(np.int64)
