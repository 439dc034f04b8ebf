"""Folders of images as sources of frames."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.images import list_images, read_image
from dd_sfm.io.source import SourceInfo

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm", ".ts")
"""Only for hints: whatever can be decoded is a video."""


def open_folder(path: Path) -> SourceInfo:
    """Look at a folder of images.

    Raises:
        InputError: If it is without images, or they are of mixed sizes.
    """
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


def iter_images(source: SourceInfo, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The images of a folder, whole, by number, as RGB (H, W, 3) uint8."""
    for number in numbers:
        if number < len(source.names):
            yield number, read_image(source.path / source.names[number])


def video_hint(folder: Path) -> str:
    """Asks whether a video in a folder was meant; empty when there is none."""
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    return f". Did you mean {videos[0]}?" if videos else ""
