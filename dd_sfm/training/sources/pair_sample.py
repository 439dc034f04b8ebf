"""A pair of frames with corresponding points, and the interface of what draws such pairs."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PairSample:
    """Two working-size frames and points that they share.

    ``image0, image1`` (H, W, 3) uint8 RGB; ``mask0, mask1`` (H, W) bool; ``xy0, xy1`` (N, 2) working pixels.
    """

    image0: NDArray[Any]
    image1: NDArray[Any]
    mask0: NDArray[np.bool_]
    mask1: NDArray[np.bool_]
    xy0: NDArray[Any]
    xy1: NDArray[Any]


class PairSource(Protocol):
    """Something that draws pairs."""

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A random pair, at a given distance of its frames or a random one; its number of points may be zero."""
        ...


def log_uniform_gap(rng: np.random.Generator, gaps: tuple[int, int]) -> int:
    """A gap in the range, both ends in it, whose logarithm is uniform: short and long gaps are drawn alike."""
    low, high = gaps
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))
