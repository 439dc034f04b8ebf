"""Decoding videos with OpenCV, frame by frame."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.image_folder import iter_images, open_folder
from dd_sfm.io.source import SourceInfo as SourceInfo

logger = logging.getLogger(__name__)


def open_source(path: Path) -> SourceInfo:
    """Look at a video file or a folder of images.

    Raises:
        InputError: If it is missing, empty, no video, without images, or of images of mixed sizes.
    """
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise InputError(f"{path}: not found; expected a video file or a folder of images")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; expected a video")
    with _opened(path) as capture:
        if not capture.isOpened() or not capture.grab():
            raise InputError(f"{path}: no frame can be decoded; expected a video (mp4, avi, mov, mkv, ...)")
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
        count = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return SourceInfo(path, width, height, fps, count)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A video open for decoding."""
    # OpenCV's own complaints about a broken file would stand before our one clear line.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path))
        try:
            yield capture
        finally:
            capture.release()
    finally:
        cv2.utils.logging.setLogLevel(level)


def iter_frames(source: SourceInfo, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Decode frames in order; memory does not grow with their number.

    Args:
        source: From :func:`open_source`.
        numbers: Zero-based frame numbers, ascending.

    Yields:
        Frame number and RGB image (H, W, 3) uint8, cut to the source's crop. Frames that cannot be decoded are
        skipped; a video that ends early ends the iteration.
    """
    for number, image in iter_images(source, numbers) if source.names else _iter_video(source, numbers):
        yield number, source.cut(image)


def _iter_video(source: SourceInfo, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    with _opened(source.path) as capture:
        wanted = iter(numbers)
        next_number = next(wanted, None)
        number = 0
        while next_number is not None and capture.grab():
            if number == next_number:
                ok, image = capture.retrieve()
                if not ok:
                    break
                yield number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                next_number = next(wanted, None)
            number += 1
