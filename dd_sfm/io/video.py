"""Decoding videos with OpenCV, frame by frame."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.images import list_images, read_image

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm", ".ts")
"""Only for hints: whatever OpenCV decodes is a video."""


@dataclass(frozen=True)
class SourceInfo:
    """A video or a folder of images.

    ``frame_count`` is what the container says (it may be wrong for a video cut short); ``names`` are the files of a
    folder, empty for a video.
    """

    path: Path
    width: int
    height: int
    fps: float
    frame_count: int
    names: tuple[str, ...] = ()


def open_source(path: Path) -> SourceInfo:
    """Look at a video file or a folder of images.

    Raises:
        InputError: If it is missing, empty, no video, without images, or of images of mixed sizes.
    """
    if path.is_dir():
        return _open_folder(path)
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


def _open_folder(path: Path) -> SourceInfo:
    try:
        files = list_images(path)
    except InputError as error:
        raise InputError(f"{error}{video_hint(path)}") from None
    height, width = read_image(files[0]).shape[:2]
    for file in files[1:]:
        found = read_image(file).shape[:2]
        if found != (height, width):
            raise InputError(
                f"{file}: {found[1]}x{found[0]} pixels; expected {width}x{height} as in {files[0].name}. "
                "All images must come from one camera at one size"
            )
    return SourceInfo(path, width, height, 1.0, len(files), tuple(f.name for f in files))


def video_hint(folder: Path) -> str:
    """Asks whether a video in a folder was meant; empty when there is none."""
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    return f". Did you mean {videos[0]}?" if videos else ""


def iter_frames(source: SourceInfo, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Decode frames in order; memory does not grow with their number.

    Args:
        source: From :func:`open_source`.
        numbers: Zero-based frame numbers, ascending.

    Yields:
        Frame number and RGB image (H, W, 3) uint8. A video that ends early ends the iteration.
    """
    if source.names:
        for number in numbers:
            if number < len(source.names):
                yield number, read_image(source.path / source.names[number])
        return
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
