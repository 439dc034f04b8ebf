"""Finding ChArUco boards, whose markers tell every corner apart: they may be seen in part."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.errors import UsageError

FAMILIES = (
    *(f"DICT_{bits}X{bits}" for bits in (4, 5, 6, 7)),
    "DICT_ARUCO", "DICT_APRILTAG_16h5", "DICT_APRILTAG_25h9", "DICT_APRILTAG_36h10", "DICT_APRILTAG_36h11",
)  # fmt: skip
"""Beginnings of the names of OpenCV's dictionaries."""
SIZES = 50, 100, 250, 1000
"""Markers of the dictionaries of one family; the smaller ones begin the larger ones."""
OTHERS = ("DICT_APRILTAG_16h5", "DICT_APRILTAG_25h9", "DICT_APRILTAG_36h11", "DICT_ARUCO_ORIGINAL")
"""Dictionaries of one size that are searched as well."""
SURE_CORNERS = 12
"""Corners in one frame that settle the dictionary."""


def dictionary_names() -> list[str]:
    """Names of all dictionaries that the installed OpenCV has."""
    return sorted(name for name in dir(cv2.aruco) if name.startswith(FAMILIES))


def searched_dictionaries(markers: int) -> list[str]:
    """Names of the dictionaries that are tried where none is named, for boards of so many markers.

    The smallest that do: comparing with the markers of a large one takes half a second a frame.
    """
    size = next((n for n in SIZES if n >= markers), SIZES[-1])
    return [*(f"DICT_{bits}X{bits}_{size}" for bits in (4, 5, 6, 7)), *OTHERS]


def check_dictionary(name: str) -> str:
    """The full name of a dictionary, which may be given as ``5x5_100``.

    Raises:
        UsageError: If there is none of that name.
    """
    wanted = name.upper().removeprefix("DICT_")
    for known in dictionary_names():
        if known.upper().removeprefix("DICT_") == wanted:
            return known
    raise UsageError(f"--dictionary {name}: unknown; expected one of {', '.join(dictionary_names())}")


class CharucoFinder:
    """Finds a ChArUco board; its dictionary and the order of its squares are settled by the first frame that shows it.

    Boards with an even number of rows made before OpenCV 4.6 begin with a white square.
    """

    def __init__(self, board: Board) -> None:
        names = [board.dictionary] if board.dictionary else searched_dictionaries(board.markers)
        orders = (False, True) if (board.rows + 1) % 2 == 0 else (False,)
        self._kinds = [(name, is_old) for name in names for is_old in orders]
        self._detectors = {kind: _detector(board, *kind) for kind in self._kinds}
        self.dictionary = board.dictionary

    def find(self, grey: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """Corners (N, 2) and their ids (N,) in a grey image; None where fewer than four are seen."""
        best: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
        best_kind = self._kinds[0]
        for kind in self._kinds:
            if best is not None and len(best[1]) >= SURE_CORNERS and kind[0] != best_kind[0]:
                break
            corners, ids = self._detectors[kind].detectBoard(grey)[:2]
            if ids is None or len(ids) < 4 or (best is not None and len(ids) <= len(best[1])):
                continue
            best, best_kind = (np.asarray(corners, np.float64).reshape(-1, 2), np.asarray(ids, np.int64).ravel()), kind
        if best is not None and len(best[1]) >= SURE_CORNERS:
            self._kinds = [best_kind]
            self.dictionary = best_kind[0]
        return best


def _detector(board: Board, name: str, is_old: bool) -> Any:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    made = cv2.aruco.CharucoBoard((board.columns + 1, board.rows + 1), 1.0, board.marker_share, dictionary)
    made.setLegacyPattern(is_old)
    return cv2.aruco.CharucoDetector(made)
