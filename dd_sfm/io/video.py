"""Frames of a source, a video, a DICOM file or a folder of images, by their numbers."""

from collections.abc import Iterable, Iterator, MutableMapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.dicom import iter_dicom
from dd_sfm.io.dicom_header import is_dicom
from dd_sfm.io.dicom_source import open_dicom
from dd_sfm.io.image_folder import iter_images, open_folder
from dd_sfm.io.source import SourceInfo as SourceInfo
from dd_sfm.io.video_decoder import NumberedFrame, iter_decoded
from dd_sfm.io.video_file import VideoFile, open_video
from dd_sfm.io.video_picture import PictureMaker, deinterlaced
from dd_sfm.structures import DropReason


def open_source(path: Path) -> SourceInfo:
    """Look at a video file, a DICOM file or a folder of images.

    Raises:
        InputError: If it is missing, empty, no video, without images, or of images of mixed sizes.
    """
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise InputError(f"{path}: not found; expected a video file or a folder of images")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; expected a video")
    if is_dicom(path):
        return open_dicom(path)
    video = open_video(path)
    width, height = video.display.shown
    return SourceInfo(path, width, height, video.rate, len(video.index), notes=video.notes, video=video)


def iter_frames(
    source: SourceInfo, numbers: Iterable[int], skipped: MutableMapping[int, tuple[DropReason, str]] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Decode frames in order; memory does not grow with their number.

    Args:
        source: From :func:`open_source`.
        numbers: Zero-based frame numbers, ascending.
        skipped: Frames that are passed over for another reason than that they cannot be decoded are entered here.

    Yields:
        Frame number and RGB image (H, W, 3) uint8, cut to the source's crop. Frames that cannot be decoded are
        skipped.
    """
    if source.parts:
        yield from _iter_parts(source, numbers, {} if skipped is None else skipped)
        return
    if source.dicom is not None:
        images = iter_dicom(source.dicom, numbers)
    elif source.video is None:
        images = iter_images(source, numbers)
    else:
        images = _iter_video(source.video, numbers, {} if skipped is None else skipped)
    for number, image in images:
        yield number, source.cut(image)


def _iter_parts(
    source: SourceInfo, numbers: Iterable[int], skipped: MutableMapping[int, tuple[DropReason, str]]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The frames of several sources, one source after the other."""
    for part, wanted in groupby(numbers, key=lambda number: source.place(number)[0]):
        first = source.spans[part].start
        left_out: dict[int, tuple[DropReason, str]] = {}
        for number, image in iter_frames(source.parts[part], [n - first for n in wanted], left_out):
            yield first + number, image
        skipped.update({first + number: reason for number, reason in left_out.items()})


def _iter_video(
    video: VideoFile, numbers: Iterable[int], skipped: MutableMapping[int, tuple[DropReason, str]]
) -> Iterator[tuple[int, NDArray[Any]]]:
    display = video.display
    wanted = np.fromiter(numbers, np.int64)
    # The fields of a frame are made one with those of its neighbours.
    needed = np.unique(np.concatenate([wanted - 1, wanted, wanted + 1])) if display.fields else wanted
    decoded = iter_decoded(video.path, video.stream, video.packets, video.index, needed)
    frames = _of_size(decoded, (display.width, display.height), skipped)
    if display.fields:
        chosen = set(wanted.tolist())
        frames = (item for item in deinterlaced(frames, display) if item[0] in chosen)
    picture = PictureMaker(display)
    for number, frame in frames:
        yield number, picture(frame)


def _of_size(
    frames: Iterator[NumberedFrame], size: tuple[int, int], skipped: MutableMapping[int, tuple[DropReason, str]]
) -> Iterator[NumberedFrame]:
    """The frames of the size that most have; the others are entered into ``skipped``."""
    for number, frame in frames:
        if (frame.width, frame.height) == size:
            yield number, frame
        else:
            detail = f"another size: {frame.width}x{frame.height} pixels, most have {size[0]}x{size[1]}"
            skipped[number] = DropReason.OTHER_SIZE, detail
