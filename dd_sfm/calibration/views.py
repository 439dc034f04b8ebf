"""Which frames of a video are searched for the board, and which of those that show it are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.detection import BoardFinder, Detection
from dd_sfm.io.video import SourceInfo, iter_frames
from dd_sfm.ops.resize import resize_image
from dd_sfm.progress import Progress

MAX_SEARCHED = 240
"""Frames that are searched for the board; of more, the sharpest of each stretch."""
READ_OF_A_STRETCH = 8
"""Frames of each stretch whose sharpness is compared."""
SMALL_HEIGHT = 360
"""Height of the small pictures by which the field of view is found."""
SMALL_COUNT = 24
"""How many of them are kept."""
BLURRED = 2.0
"""A view whose edges are so many times as wide as those of the sharper views is left out."""
SHARP_EDGE_PX = 4.0
"""Edges up to this width never count as blurred."""
ALIKE = 0.015
"""Views whose boards' corners lie closer than this, as a share of the picture's diagonal, are taken as the same."""
CELLS = 10
"""Cells along the longer side of the picture, by which it is told where corners were."""


@dataclass(frozen=True)
class Scan:
    """What a source shows: detections, frames searched, frames read, small RGB pictures of searched frames.

    ``unseen``: numbers of searched frames without the board, the sharpest ones first.
    """

    detections: tuple[Detection, ...]
    searched: int
    read: int
    pictures: tuple[NDArray[np.uint8], ...]
    unseen: tuple[int, ...]


def scan(source: SourceInfo, finder: BoardFinder, every: int, progress: Progress) -> Scan:
    """Search a source for the board, in every frame of short ones, in the sharpest of each stretch of long ones."""
    numbers = range(0, source.frame_count, every)
    stretch = max(1, -(-len(numbers) // MAX_SEARCHED))
    taken = [n for k, n in enumerate(numbers) if k % stretch % max(1, stretch // READ_OF_A_STRETCH) == 0]
    sharpest: dict[int, tuple[float, int, NDArray[Any]]] = {}
    detections: list[Detection] = []
    pictures: list[NDArray[np.uint8]] = []
    unseen: list[tuple[float, int]] = []
    read = 0
    keep_every = max(1, min(len(numbers), MAX_SEARCHED) // SMALL_COUNT)

    def search(place: int) -> None:
        sharpness, number, image = sharpest.pop(place)
        found = finder.find(number, image)
        if found is None:
            unseen.append((sharpness, number))
        else:
            detections.append(found)
        if place % keep_every == 0 and len(pictures) < SMALL_COUNT:
            pictures.append(small_picture(image))

    for number, image in progress(iter_frames(source, taken), total=len(taken), label="searching for the board"):
        place = number // every // stretch
        for before in [p for p in sharpest if p != place]:
            search(before)
        read += 1
        sharpness = frame_sharpness(image)
        if place not in sharpest or sharpness > sharpest[place][0]:
            sharpest[place] = sharpness, number, image
    for place in list(sharpest):
        search(place)
    order = tuple(number for _, number in sorted(unseen, reverse=True))
    return Scan(tuple(detections), len(detections) + len(unseen), read, tuple(pictures), order)


def small_picture(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) in a size at which its field of view is still told."""
    scale = min(1.0, SMALL_HEIGHT / len(image))
    return np.asarray(resize_image(image, scale), np.uint8)


def frame_sharpness(image: NDArray[Any]) -> float:
    """Mean squared gradient of an RGB frame at half its size: larger where the same scene is sharper.

    Unlike :func:`dd_sfm.pipeline.frame_texture.sharpness_of` it is not limited where contrast is high: a board's
    edges would all be at that limit.
    """
    grey = resize_image(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0.5)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return float((dx * dx + dy * dy).mean())


def sharp_ones(detections: Sequence[Detection]) -> list[Detection]:
    """Detections without the blurred ones."""
    usual = float(np.percentile([d.edge_px for d in detections], 30)) if detections else 0.0
    return [d for d in detections if d.edge_px <= max(BLURRED * usual, SHARP_EDGE_PX)]


def choose_views(detections: Sequence[Detection], board: Board, size: tuple[int, int], limit: int) -> list[Detection]:
    """The views that differ most and cover most of the picture, at most ``limit``, in order of frames.

    One after the other, the view is taken whose board lies and leans unlike all taken before and fills cells of the
    picture that none filled; blur counts against it. What is left then repeats what there is.
    """
    if not detections:
        return []
    places = np.array([_signature(d, board, size) for d in detections])
    cells = [set(cells_of(d.corners, size)) for d in detections]
    blur = np.array([d.edge_px for d in detections])
    blur = blur / np.median(blur) - 1
    filled: set[int] = set()
    taken: list[int] = []
    distance = np.full(len(detections), 0.3)
    while len(taken) < limit:
        new = np.array([len(c - filled) for c in cells]) / CELLS**2
        score = np.minimum(distance, 0.3) + 2 * new - 0.1 * blur
        score[taken] = -np.inf
        score[distance < ALIKE] = -np.inf
        best = int(np.argmax(score))
        if not np.isfinite(score[best]):
            break
        taken.append(best)
        filled |= cells[best]
        distance = np.minimum(distance, _distances(places, places[best]))
    return [detections[k] for k in sorted(taken)]


def cells_of(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Cells (N,) of the picture that corners (N, 2) lie in, as single numbers."""
    cell = max(size) / CELLS
    x, y = np.floor((corners + 0.5) / cell).astype(np.int64).T
    return np.asarray(y * (CELLS + 1) + x)


def _signature(detection: Detection, board: Board, size: tuple[int, int]) -> NDArray[np.float64]:
    """The board's outer corners (4, 2) as they would be seen, in units of the picture's diagonal.

    By a homography of the seen corners; how much shorter a side looks than the opposite one, which tells of the tilt,
    moves corners little and is therefore exaggerated.
    """
    flat = board.points[:, :2]
    matrix, _ = cv2.findHomography(flat[detection.ids], detection.corners, 0)
    half = np.array([board.columns - 1, board.rows - 1]) / 2
    outer = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    if matrix is None:
        return np.tile(detection.corners.mean(0), (4, 1)) / np.hypot(*size)
    seen = cv2.perspectiveTransform(outer[None], matrix)[0]
    affine = outer @ np.linalg.lstsq(outer, seen - seen.mean(0), rcond=None)[0] + seen.mean(0)
    return np.asarray((affine + 3 * (seen - affine)) / np.hypot(*size), np.float64)


def _distances(places: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (V,) of boards (V, 4, 2) to one board; turned by half a turn a board looks the same."""
    turned = np.roll(one, 2, axis=0)
    return np.asarray(
        np.minimum(*(np.sqrt(((places - other) ** 2).sum(-1).mean(-1)) for other in (one, turned))), np.float64
    )
