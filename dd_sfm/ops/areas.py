"""What areas of a picture are made of, and where they lie."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Bounds(NamedTuple):
    """The box around an area in pixels; ``right`` and ``bottom`` are one past its last pixel."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Its pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Its pixels from top to bottom."""
        return self.bottom - self.top

    @property
    def part(self) -> tuple[slice, slice]:
        """The rows and columns of it, as an index of pictures."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, size: tuple[int, int]) -> "Bounds":
        """The box with a margin, as far as a picture of (width, height) goes."""
        right, bottom = min(size[0], self.right + margin), min(size[1], self.bottom + margin)
        return Bounds(max(0, self.left - margin), max(0, self.top - margin), right, bottom)


def bounds_of(area: NDArray[np.bool_]) -> Bounds:
    """The box around an area (H, W), which holds a pixel at least."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return Bounds(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def largest_part(area: NDArray[Any]) -> NDArray[np.bool_] | None:
    """The largest connected part of an area (H, W) uint8; None of an empty one."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(area)
    return None if count < 2 else labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def convex_hull(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The smallest convex area (H, W) that holds an area, which holds a pixel at least."""
    hull = np.zeros(area.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(area)[:, ::-1].astype(np.int32)), 1)
    return hull > 0
