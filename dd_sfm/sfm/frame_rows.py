"""The rows of each frame, in a column of frames that is in another order."""

import numpy as np

from dd_sfm.structures import IntArray


class FrameRows:
    """Finds the observations of a frame without looking at those of all others.

    Args:
        frame: Of every row (O,): its position, or any other number of it.
    """

    def __init__(self, frame: IntArray) -> None:
        self._order = np.argsort(frame, kind="stable")
        self._frames = frame[self._order]

    def of(self, frame: int) -> IntArray:
        """Rows of a frame, ascending."""
        return self._between(frame, frame + 1)

    def of_range(self, first: int, end: int) -> IntArray:
        """Rows of all frames from ``first`` to before ``end``, ascending."""
        return np.sort(self._between(first, end))

    def _between(self, first: int, end: int) -> IntArray:
        bounds = np.searchsorted(self._frames, [first, end])
        return self._order[bounds[0] : bounds[1]]
