"""What to say where a board was not found: what the frames show instead."""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.charuco import searched_dictionaries
from dd_sfm.calibration.detection import seen_size
from dd_sfm.io.video import SourceInfo, iter_frames

LOOKED_AT = 8
"""Frames that are looked at once more."""
MARKERS_IN = 3
"""Frames, the sharpest ones, in which markers are looked for."""
MIN_MARKERS = 3
"""Markers of one dictionary that are no chance finds."""


def missing_board_hint(source: SourceInfo, frames: Sequence[int], board: Board) -> str:
    """A sentence on what else frames of a source show: a board of another size, markers, or no board at all."""
    order = {number: k for k, number in enumerate(frames[:LOOKED_AT])}
    greys = {n: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for n, image in iter_frames(source, sorted(order))}
    images = [greys[number] for number in sorted(greys, key=lambda n: order[n])]
    markers = _seen_markers(images[:MARKERS_IN], board.markers)
    if board.is_charuco:
        if markers is None:
            return "No ArUco marker is seen either: is it a plain checkerboard (leave out --charuco)?"
        name, highest = markers
        wanted = board.markers
        return (
            f"Markers of {name} up to number {highest} are seen, {board.columns}x{board.rows} has {wanted}: give the "
            "board's inner corners in its own order (10x7 squares are 9x6), --dictionary and --marker-mm"
        )
    if markers is not None:
        return f"Markers of {markers[0]} are seen: add --charuco"
    found = Counter(size for size in map(seen_size, images) if size)
    given = max(board.columns, board.rows), min(board.columns, board.rows)
    others = [size for size in found if size != given]
    if others:
        size = max(others, key=lambda s: (found[s], s[0] * s[1]))
        name = f"{size[0]}x{size[1]}"
        return f"A board of {name} is seen in {found[size]} of {len(images)} frames: try --board {name}"
    return (
        "--board counts inner corners: 10x7 squares are 9x6. Is the whole board seen, sharp, with a white margin and "
        "without highlights?"
    )


def _seen_markers(images: Sequence[NDArray[np.uint8]], count: int) -> tuple[str, int] | None:
    """The dictionary with most markers in the images, and the highest number; None where there are hardly any."""
    best: tuple[int, str, int] | None = None
    for name in searched_dictionaries(count):
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
        detector = cv2.aruco.ArucoDetector(dictionary)
        found = [ids.ravel() for ids in (detector.detectMarkers(image)[1] for image in images) if ids is not None]
        most = max((len(ids) for ids in found), default=0)
        if most >= MIN_MARKERS and (best is None or most > best[0]):
            best = most, name, int(max(ids.max() for ids in found))
    return best[1:] if best else None
