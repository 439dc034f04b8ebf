"""Finding the corners of a board in a frame, to a fraction of a pixel."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import SMALLEST, Board
from dd_sfm.calibration.charuco import CharucoFinder
from dd_sfm.calibration.plausibility import plausible_corners
from dd_sfm.ops.resize import resize_image

WORKING_SIZE = 960
"""Longer side, in pixels, of the picture in which a board is searched at first."""
FULL_SIZE_TRIES = 24
"""Frames without a board that are searched at their own size as well, before that is given up."""
MIN_CORNERS = 12
"""Fewest corners of a view; ChArUco boards may be seen in part."""
WINDOW_SHARE = 0.35
"""Half the side of the window that a corner is refined in, as a share of the distance to the next corner."""
MIN_RIGHT = 0.8
"""A board with a smaller share of plausible corners is a chance find, or half visible."""
MIN_SPACING_PX = 4.0
"""Closer corners cannot be told apart to a fraction of a pixel."""


@dataclass(frozen=True)
class Detection:
    """A board found in a frame.

    ``frame``: number in the source; ``corners`` (N, 2) float64 in pixels with centres at integers; ``ids`` (N,) int64:
    rows of the board's points; ``edge_px``: how many pixels the step from black to white takes, a measure of blur.
    """

    frame: int
    corners: NDArray[np.float64]
    ids: NDArray[np.int64]
    edge_px: float


class BoardFinder:
    """Finds one board in frame after frame; what one frame tells of a ChArUco board serves the next ones."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._charuco = CharucoFinder(board) if board.is_charuco else None
        self._full_size_tries = FULL_SIZE_TRIES

    @property
    def dictionary(self) -> str | None:
        """The dictionary of the ChArUco board's markers, once it is known."""
        return self._charuco.dictionary if self._charuco else None

    def find(self, frame: int, image: NDArray[Any]) -> Detection | None:
        """Find the board in an image, RGB (H, W, 3) or grey (H, W) uint8; None where it is not seen well enough."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        scale = min(1.0, WORKING_SIZE / max(grey.shape))
        rough = self._rough(resize_image(grey, scale))
        if rough is not None:
            rough = (rough[0] + 0.5) / scale - 0.5, rough[1]
        elif scale < 1 and self._full_size_tries > 0:
            self._full_size_tries -= 1
            rough = self._rough(grey)
            # A board that is only seen at full size will be so in the next frames too.
            self._full_size_tries += 2 * (rough is not None)
        if rough is None or len(rough[1]) < MIN_CORNERS:
            return None
        corners, ids = rough
        spacing = corner_spacing(corners)
        if spacing.min() < MIN_SPACING_PX:
            return None
        reach = WINDOW_SHARE * 2 * self.board.clear_share * spacing
        corners, held = refine_corners(grey, corners, reach)
        right = held & plausible_corners(grey, corners, ids, self.board)
        if right.mean() < MIN_RIGHT or right.sum() < MIN_CORNERS:
            return None
        corners, ids = corners[right], ids[right]
        return Detection(frame, corners, ids, edge_width(grey, corners, ids, self.board))

    def _rough(self, grey: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        if self._charuco:
            return self._charuco.find(grey)
        corners = find_checkerboard(grey, (self.board.columns, self.board.rows))
        return None if corners is None else (corners, np.arange(len(corners)))


def find_checkerboard(grey: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Corners (N, 2) of a checkerboard of ``size`` in a grey image, to a pixel or so; None if unseen."""
    found, corners = cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if not found:
        # The older method follows the squares' outlines: it bears curved rows and small boards better.
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        found, corners = cv2.findChessboardCorners(grey, size, flags=flags)
    return np.asarray(corners, np.float64).reshape(-1, 2) if found else None


def seen_size(grey: NDArray[Any]) -> tuple[int, int] | None:
    """Inner corners along the longer and the shorter side of whatever checkerboard a grey image shows."""
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_LARGER
    small = resize_image(grey, min(1.0, WORKING_SIZE / max(grey.shape)))
    found, corners, kinds = cv2.findChessboardCornersSBWithMeta(small, (SMALLEST, SMALLEST), flags)
    if not found:
        return None
    rows, columns = kinds.shape[:2]
    places, ids = np.asarray(corners, np.float64).reshape(-1, 2), np.arange(rows * columns)
    if plausible_corners(small, places, ids, Board(columns, rows)).mean() < MIN_RIGHT:
        return None
    return max(rows, columns), min(rows, columns)


def corner_spacing(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (N,) of every corner (N, 2) to its nearest neighbour, in pixels."""
    distance = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(1), np.float64)


def refine_corners(
    grey: NDArray[Any], corners: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Move corners to where the gradients in windows around them ask for.

    Larger windows average more noise, but one size for all would reach neighbours where the rim squeezes the board.

    Args:
        grey: Picture (H, W) uint8.
        corners: Places (N, 2) to begin at.
        reach: Half the sides (N,) of the windows in pixels.

    Returns:
        Corners (N, 2), and which (N,) held: gradients lead away where there is no corner, or a highlight beside it.
    """
    half = np.clip(np.round(reach), 2, 11).astype(int)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-3)
    refined = corners.copy()
    for size in np.unique(half):
        chosen = half == size
        places = np.ascontiguousarray(corners[chosen, None], np.float32)
        found = cv2.cornerSubPix(grey, places, (int(size), int(size)), (-1, -1), criteria).reshape(-1, 2)
        refined[chosen] = found
    held = np.linalg.norm(refined - corners, axis=1) <= np.maximum(1.5, 0.5 * half)
    return refined, np.asarray(held)


def edge_width(grey: NDArray[Any], corners: NDArray[np.float64], ids: NDArray[np.int64], board: Board) -> float:
    """Pixels that the step from black to white takes between neighbouring corners, the median of the board's edges.

    The profile across the middle of every edge is read on both sides; the width is the height of the step over its
    steepest slope.
    """
    place = {int(i): k for k, i in enumerate(ids)}
    pairs = [(k, place[i + 1]) for i, k in place.items() if i % board.columns < board.columns - 1 and i + 1 in place]
    pairs += [(k, place[i + board.columns]) for i, k in place.items() if i + board.columns in place]
    if not pairs:
        return float("inf")
    first, second = corners[[a for a, _ in pairs]], corners[[b for _, b in pairs]]
    along = second - first
    length = np.linalg.norm(along, axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / length[:, None]
    # Half the distance to the next edge on both sides, in steps of a third of a pixel.
    steps = np.linspace(-0.5, 0.5, 33)
    reach = np.minimum(0.9 * length, 24.0)
    places = ((first + second) / 2)[:, None] + across[:, None] * (steps[None, :, None] * reach[:, None, None])
    x, y = np.moveaxis(places, -1, 0).astype(np.float32)
    values = cv2.remap(grey.astype(np.float32), x, y, cv2.INTER_LINEAR)
    values = cv2.GaussianBlur(values, (3, 1), 0)
    height = np.ptp(values, axis=1)
    slope = np.abs(np.diff(values, axis=1)).max(1) / (reach / 32)
    return float(np.median(height / np.maximum(slope, 1e-6)))
