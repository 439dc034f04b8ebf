"""DICOM files as sources of frames: one of many frames, or a folder of files of one frame each."""

import logging
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.dicom_header import DicomHeader, read_dicom_header, without_messages
from dd_sfm.io.image_files import to_bytes
from dd_sfm.io.images import natural_key
from dd_sfm.io.levels import white_level
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.spread import spread_positions

logger = logging.getLogger(__name__)

BY_FFMPEG = {
    "1.2.840.10008.1.2.4.57": "mjpeg", "1.2.840.10008.1.2.4.70": "mjpeg",
    "1.2.840.10008.1.2.4.80": "jpegls", "1.2.840.10008.1.2.4.81": "jpegls",
}  # fmt: skip
"""Transfer syntaxes for which pydicom needs further packages, and FFmpeg's decoders of them: lossless JPEG, JPEG-LS."""
DEFLATED = "1.2.840.10008.1.2.1.99"
SAMPLES = 16
"""Frames by which the highest level in use is found."""
DENSE = 0.3
"""From this share of a file's frames on they are all decoded in a row: finding a single one takes a pass of its own."""


@dataclass(frozen=True)
class DicomFrames:
    """Frames of DICOM files of one recording, in their order.

    ``low``, ``white``: the levels of more than 8 bits that are read as black and white.
    """

    headers: tuple[DicomHeader, ...]
    low: int = 0
    white: float = 255.0

    def __len__(self) -> int:
        return sum(header.frames for header in self.headers)

    @property
    def times_s(self) -> tuple[float, ...]:
        """The times of the frames from the first one; empty where the file does not state them."""
        return self.headers[0].times_s if len(self.headers) == 1 else ()


def dicom_series(files: Sequence[Path], where: Path) -> tuple[tuple[DicomHeader, ...], list[Note]]:
    """The files of the largest series, in the order of their instance numbers, else of their names.

    Raises:
        InputError: If there are none with pictures.
    """
    headers, failed = [], []
    for file in files:
        try:
            headers.append(read_dicom_header(file))
        except InputError as error:
            failed.append(error)
    if not headers:
        raise failed[0]
    kinds = Counter((header.series, header.width, header.height) for header in headers)
    (kind, _), *others = kinds.most_common()
    chosen = [header for header in headers if (header.series, header.width, header.height) == kind]
    chosen.sort(key=lambda header: (header.instance is None, header.instance or 0, natural_key(header.path)))
    left_out = len(files) - len(chosen)
    if not left_out:
        return tuple(chosen), []
    what = "are of other series or sizes" if others else "hold no picture"
    text = f"{left_out} of {len(files)} DICOM files in {where.name} {what} and are left out"
    return tuple(chosen), [Note(NoteCode.DICOM_LEFT_OUT, text)]


def open_dicom_frames(headers: tuple[DicomHeader, ...]) -> tuple[DicomFrames, list[Note]]:
    """Find out whether frames can be decoded, and what levels they use.

    Raises:
        InputError: If there is no decoder for them, or the first ones cannot be decoded.
    """
    frames = DicomFrames(headers)
    _require_decoder(headers[0])
    chosen = spread_positions(len(frames), SAMPLES if headers[0].bits_allocated > 8 else 3)
    sampled = [levels for _, levels in _iter_levels(frames, chosen)]
    if not sampled:
        raise InputError(f"{headers[0].path}: no frame of this DICOM file can be decoded; expected one that is whole")
    if all(levels.dtype == np.uint8 for levels in sampled):
        return frames, []
    low = min(0, *(int(levels.min()) for levels in sampled))
    white, notes = white_level([_above(levels, low) for levels in sampled], headers[0].bits_stored)
    return DicomFrames(headers, low, white), notes


def _require_decoder(header: DicomHeader) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    with suppress(NotImplementedError):
        if header.syntax in BY_FFMPEG or get_decoder(UID(header.syntax)).is_available:
            return
    raise InputError(
        f"{header.path}: DICOM compressed as {UID(header.syntax).name}, for which there is no decoder; expected one of "
        "another kind, or a decoder: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
    )


def iter_dicom(frames: DicomFrames, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Frames by number, as RGB (H, W, 3) uint8; those that cannot be decoded are skipped."""
    shape = frames.headers[0].height, frames.headers[0].width
    for number, levels in _iter_levels(frames, list(numbers)):
        image = to_bytes(_above(levels, frames.low), frames.white)
        if image.ndim == 2:
            grey = 255 - image if frames.headers[0].photometric == "MONOCHROME1" else image
            image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
        if image.shape[:2] == shape:
            yield number, np.ascontiguousarray(image)


def _above(levels: NDArray[Any], low: int) -> NDArray[Any]:
    """Levels above the lowest one; those with a sign become uint16."""
    if levels.dtype in (np.uint8, np.uint16):
        return levels
    return (levels.astype(np.int64) - low).clip(0, 65535).astype(np.uint16)


def _iter_levels(frames: DicomFrames, numbers: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Frames as they are stored, RGB (H, W, 3) or grey (H, W), in the depth of their files."""
    first = 0
    for header in frames.headers:
        wanted = [number - first for number in numbers if first <= number < first + header.frames]
        if wanted:
            by_ffmpeg = header.syntax in BY_FFMPEG and not _pydicom_decodes(header)
            for index, levels in _by_ffmpeg(header, wanted) if by_ffmpeg else _by_pydicom(header, wanted):
                yield first + index, levels
        first += header.frames


def _pydicom_decodes(header: DicomHeader) -> bool:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    return bool(get_decoder(UID(header.syntax)).is_available)


def _by_pydicom(header: DicomHeader, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Frames that pydicom decodes; after one that cannot be, it goes on with the next."""
    from pydicom import Dataset, dcmread
    from pydicom.pixels import apply_color_lut, iter_pixels, pixel_array

    dense = len(wanted) > DENSE * (wanted[-1] + 1)
    left = list(range(wanted[-1] + 1)) if dense else wanted
    known, keep, has_palette = Dataset(), set(wanted), header.photometric == "PALETTE COLOR"
    # Deflated files cannot be read in parts.
    source = dcmread(header.path) if header.syntax == DEFLATED else header.path
    # Once pydicom 3.0 has converted a frame of this kind, it no longer finds the next ones.
    one_by_one = header.photometric == "YBR_FULL_422" and not header.is_compressed
    while left:
        done = 0
        # Without indices the file is passed through once.
        indices = None if dense and left[0] == 0 else left
        try:
            with without_messages():
                frames: Iterator[NDArray[Any]] = (
                    (pixel_array(source, index=index) for index in left)
                    if one_by_one
                    else iter_pixels(source, ds_out=known, indices=indices)
                )
                for index, levels in zip(left, frames, strict=False):
                    done += 1
                    if index in keep:
                        yield index, apply_color_lut(levels, known) if has_palette else levels
            return
        except Exception as error:
            raise_if_short(str(header.path), error)
            if done >= len(left):
                # All that were asked for had come before.
                return
            logger.warning("%s: frame %d cannot be decoded (%s)", header.path, left[done], type(error).__name__)
            left = left[done + 1 :]


def _by_ffmpeg(header: DicomHeader, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Frames that FFmpeg decodes, each for itself."""
    import av
    from pydicom import dcmread
    from pydicom.encaps import generate_frames

    keep = set(wanted)
    with header.path.open("rb") as file, without_messages():
        dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
        # Tag, kind and length of the pixel data, which are always explicit where they are compressed.
        file.seek(12, 1)
        for index, data in enumerate(_whole_fragments(header, generate_frames(file, number_of_frames=header.frames))):
            if index > wanted[-1]:
                return
            if index in keep:
                codec: Any = av.CodecContext.create(BY_FFMPEG[header.syntax], "r")
                try:
                    picture = codec.decode(av.Packet(data))[0]
                    yield index, _planes(picture, header.photometric)
                except (av.error.FFmpegError, IndexError, ValueError) as error:
                    raise_if_short(str(header.path), error)
                    logger.warning("%s: frame %d cannot be decoded (%s)", header.path, index, type(error).__name__)


def _whole_fragments(header: DicomHeader, frames: Iterator[bytes]) -> Iterator[bytes]:
    """The frames of a stream, up to where it is damaged."""
    try:
        yield from frames
    except (struct.error, OSError, EOFError, ValueError, TypeError, IndexError) as error:
        logger.warning("%s: the rest cannot be read (%s)", header.path, type(error).__name__)


def _planes(picture: Any, photometric: str) -> NDArray[Any]:
    """A decoded picture as the DICOM file means its components: FFmpeg takes any three for those of YCbCr."""
    found = picture.to_ndarray()
    if picture.format.name.startswith("bgr"):
        return found[..., ::-1]
    if picture.format.name.startswith("yuv"):
        found = np.moveaxis(found, 0, 2)
        if photometric.startswith("YBR"):
            return cv2.cvtColor(np.ascontiguousarray(found[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    return found
