"""Planes carried from pixels whose depth is known to those around them where none was found."""

import numpy as np
from numpy.typing import NDArray

REACH = 12
"""Pixels of the grid over which a plane is carried."""
MAX_CHANGE = 1.5
"""Factor by which a plane's inverse depth may change at most on its way."""
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""Rows and columns of the steps by which the nearest known pixels are looked for."""


def carried_planes(planes: NDArray[np.float32], pixels: NDArray[np.int64], step: int) -> NDArray[np.float32]:
    """Planes to try at pixels of a grid: those of the nearest known pixel in each of four directions.

    Args:
        planes: Inverse depth, 0 where unknown, and its slopes per pixel of the image (H, W, 3).
        pixels: Numbers (N,) of pixels of the grid, row by row.
        step: Pixels of the image between those of the grid.

    Returns:
        (N, 4, 3); inverse depth 0 where there is none.
    """
    row, column = np.divmod(pixels, planes.shape[1])
    found = np.zeros((len(pixels), len(DIRECTIONS), 3), np.float32)
    for k, (down, right) in enumerate(DIRECTIONS):
        away = _steps_to_known(planes[:, :, 0] > 0, down, right)[row, column]
        good = away <= REACH
        source = planes[(row + down * away)[good], (column + right * away)[good]]
        shift = -step * away[good].astype(np.float32)
        moved = source[:, 0] + shift * (source[:, 1] * right + source[:, 2] * down)
        likely = (moved > source[:, 0] / MAX_CHANGE) & (moved < source[:, 0] * MAX_CHANGE)
        source[:, 0] = np.where(likely, moved, 0)
        found[good, k] = source
    return found


def _steps_to_known(known: NDArray[np.bool_], down: int, right: int) -> NDArray[np.int64]:
    """Steps (H, W) in a direction to the nearest known pixel of a grid; more than ``REACH`` where there is none."""
    axis, backwards = (0, down > 0) if down else (1, right > 0)
    # What lies further along is what comes before when looked at from the other end.
    turned = np.flip(known, axis) if backwards else known
    place = np.arange(known.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
    last = np.maximum.accumulate(np.where(turned, place, -(10**6)), axis)
    away = place - last
    return np.minimum(np.flip(away, axis) if backwards else away, REACH + 1)
