"""The pixels of a reference frame whose depths are searched."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReferenceGrid:
    """A reference frame, and the grid of its working pixels whose depths are searched.

    ``frame``: its position; ``shape`` of the grid; ``step``: working pixels between its pixels, of which the first
    lies at half of it; ``views``: frame positions searched.
    """

    frame: int
    shape: tuple[int, int]
    step: int
    views: tuple[int, ...]

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The pixels (N, 2), columns and rows, row by row."""
        return grid_pixels(self.shape, self.step)

    def pixels_at(self, index: NDArray[Any]) -> NDArray[np.float32]:
        """Some of the pixels (K, 2), by their numbers (K,)."""
        row, column = np.divmod(index, self.shape[1])
        return (np.stack([column, row], 1) * self.step + self.step // 2).astype(np.float32)

    def nearest(self, xy: NDArray[Any]) -> NDArray[np.int64]:
        """The cells (K, 2), column and row, whose pixels are nearest to places (K, 2); also beyond the grid."""
        return np.asarray(np.round((xy - self.step // 2) / self.step).astype(np.int64))

    def index(self, cell: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which pixels (K,) the cells (K, 2) of the grid are."""
        return np.asarray(cell[:, 1] * self.shape[1] + cell[:, 0])

    def centre(self, cell: NDArray[np.int64]) -> NDArray[np.int64]:
        """Columns and rows (K, 2) of the pixels of cells (K, 2)."""
        return cell * self.step + self.step // 2


def grid_pixels(shape: tuple[int, int], step: int) -> NDArray[np.float32]:
    """Pixels (N, 2) of a grid, columns and rows, row by row; the first lies at half a step."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (np.stack([columns, rows], -1).reshape(-1, 2) * step + step // 2).astype(np.float32)
