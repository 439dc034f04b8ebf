"""Which corners of a found board are corners: a board that is cut off by the rim is sometimes completed by guesses."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board

FARTHEST_SHARE = 0.3
"""A corner further than this from where its neighbours lead, as a share of the distance between corners, is none."""
LEAST_CONTRAST = 0.35
"""A corner whose squares differ by less, as a share of the board's usual contrast, is none."""
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))


def plausible_corners(
    grey: NDArray[Any], corners: NDArray[np.float64], ids: NDArray[np.int64], board: Board
) -> NDArray[np.bool_]:
    """Tell which corners (N, 2) lie where their neighbours lead and between squares of alternating grey.

    Args:
        grey: Picture (H, W) uint8.
        corners: Places (N, 2) in pixels.
        ids: Their rows (N,) of the board's points.
        board: The board.
    """
    grid = np.full((board.rows, board.columns, 2), np.nan)
    grid[ids // board.columns, ids % board.columns] = corners
    padded = np.pad(grid, ((3, 3), (3, 3), (0, 0)), constant_values=np.nan)

    def shifted(step: tuple[int, int], times: int) -> NDArray[np.float64]:
        dy, dx = step[1] * times + 3, step[0] * times + 3
        return np.asarray(padded[dy : dy + board.rows, dx : dx + board.columns])

    off, spacing = np.full(grid.shape[:2], np.nan), np.full(grid.shape[:2], np.nan)
    for step in STEPS:
        one, two, three = (shifted(step, times) for times in (1, 2, 3))
        # The parabola through the next three; the best of all sides, as a wrong neighbour misleads its own side alone.
        off = np.fmin(off, np.linalg.norm(3 * one - 3 * two + three - grid, axis=-1))
        spacing = np.fmin(spacing, np.linalg.norm(one - two, axis=-1))
    contrast = _contrast(grey, grid, shifted, board)
    usual = np.nanmedian(np.abs(contrast)) if np.isfinite(contrast).any() else np.inf
    # Which squares are white is a matter of how the corners are numbered: most corners tell.
    sign = np.sign(np.nanmedian(contrast)) or 1.0
    fits = (np.isnan(off) | (off < FARTHEST_SHARE * spacing)) & (sign * contrast > LEAST_CONTRAST * usual)
    return np.asarray(fits[ids // board.columns, ids % board.columns])


def _contrast(grey: NDArray[Any], grid: NDArray[np.float64], shifted: Any, board: Board) -> NDArray[np.float64]:
    """By how much the darker square of one pair around each corner is lighter than the lighter one of the other pair.

    (rows, columns), of one sign where squares alternate as they should, 0 where they do not. Read at places a little
    away from the corner, which lie in one square each on ChArUco boards as well.
    """
    right, left, down, up = (shifted(step, 1) for step in STEPS)
    along = np.where(np.isnan(right), grid - left, np.where(np.isnan(left), right - grid, (right - left) / 2))
    across = np.where(np.isnan(down), grid - up, np.where(np.isnan(up), down - grid, (down - up) / 2))
    share = 0.6 * board.clear_share
    values = []
    for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        places = np.nan_to_num(grid + share * (a * along + b * across), nan=-1).astype(np.float32)
        values.append(
            cv2.remap(grey, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
    same, other = np.array(values[:2], np.float64), np.array(values[2:], np.float64)
    gap = np.maximum(same.min(0) - other.max(0), 0) - np.maximum(other.min(0) - same.max(0), 0)
    parity = 1 - 2 * (np.indices(grid.shape[:2]).sum(0) % 2)
    known = np.isfinite(grid).all(-1) & np.isfinite(along).all(-1) & np.isfinite(across).all(-1)
    return np.where(known, parity * gap, np.nan)
