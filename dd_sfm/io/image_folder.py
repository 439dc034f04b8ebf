"""Folders of images as sources of frames; those of DICOM files are handed on."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.dicom_header import SUFFIXES as DICOM_SUFFIXES
from dd_sfm.io.dicom_header import is_dicom
from dd_sfm.io.dicom_source import open_dicom_folder
from dd_sfm.io.image_files import (
    SIDEWAYS,
    UPRIGHT,
    ImageHeader,
    UndecodableError,
    looks_like_image,
    read_header,
    read_levels,
    to_bytes,
    turned,
)
from dd_sfm.io.images import has_image_suffix, is_hidden, natural_key, no_image_text
from dd_sfm.io.levels import ALL_BITS, white_level
from dd_sfm.io.source import SourceInfo
from dd_sfm.io.source_hints import source_hint
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.spread import spread_over
from dd_sfm.structures import DropReason

logger = logging.getLogger(__name__)

Unusable = dict[int, tuple[DropReason, str]]
TOLERATED = 10
"""One file in so many may be undecodable, or of another size."""
NAMED = 3
"""So many undecodable files are named in a message."""
PROBES, SAMPLES = 3, 16
"""Images decoded on opening: to see whether there are more than 8 bits, and then to see how many are used."""
COMPARED_PX = 64
"""Side of the small copies by which it is seen whether EXIF's orientations are of the pictures."""


def open_folder(path: Path) -> SourceInfo:
    """Look at a folder of images; sizes come from the headers, so that few images are decoded.

    Raises:
        InputError: If it is without images, too many of them cannot be decoded, or they are of mixed sizes.
    """
    try:
        images, dicoms = _images_and_dicoms(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a folder of images") from error
    if dicoms:
        return open_dicom_folder(path, dicoms)
    if not images:
        raise InputError(f"{no_image_text(path)}{source_hint(path)}")
    return open_images(path, images)


def frame_files(folder: Path) -> list[Path]:
    """The files of a folder that are taken for frames, in natural order; without a log or notes that lie beside them.

    Raises:
        OSError: If the folder cannot be read.
    """
    images, dicoms = _images_and_dicoms(folder)
    return dicoms or images


def _images_and_dicoms(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, or its DICOM files where these are more."""
    files = [file for file in folder.iterdir() if file.is_file() and not is_hidden(file)]
    named = [file for file in files if has_image_suffix(file)]
    others = [file for file in files if not has_image_suffix(file)]
    dicoms = [file for file in others if is_dicom(file) or file.suffix.lower() in DICOM_SUFFIXES]
    if len(dicoms) > len(named):
        return [], sorted(dicoms, key=natural_key)
    return sorted(named or filter(looks_like_image, others), key=natural_key), []


def open_images(folder: Path, files: Sequence[Path]) -> SourceInfo:
    """Look at images of a folder as frames of one camera.

    Raises:
        InputError: If too many of them cannot be decoded, or they are of mixed sizes.
    """
    unusable: Unusable = {}
    headers: dict[int, ImageHeader] = {}
    for number, file in enumerate(files):
        try:
            headers[number] = read_header(file)
        except UndecodableError as error:
            unusable[number] = DropReason.UNDECODABLE, error.reason
    names = tuple(file.name for file in files)
    refuse_undecodable(folder, names, {number: detail for number, (_, detail) in unusable.items()}, len(files))
    turns, notes = _turns(files, headers)
    sizes = {n: h.upright_size if n in turns else h.stored_size for n, h in headers.items()}
    (width, height), _ = Counter(sizes.values()).most_common(1)[0]
    unusable |= _of_other_size(files, sizes, (width, height), turns)
    white, depth_notes = _white_level([files[n] for n in headers if n not in unusable])
    return SourceInfo(
        folder, width, height, None, len(files), names,
        unusable=unusable, notes=(*notes, *depth_notes), turns=turns, white_level=white,
    )  # fmt: skip


def refuse_undecodable(folder: Path, names: Sequence[str], reasons: Mapping[int, str], count: int) -> None:
    """See that most images can be decoded.

    Args:
        folder: What holds the images.
        names: Their files.
        reasons: By number, why one cannot be decoded.
        count: How many were tried.

    Raises:
        InputError: If more than a tenth of them (and more than one) cannot.
    """
    if len(reasons) <= max(1, count // TOLERATED) and len(reasons) < count:
        return
    named = "; ".join(f"{names[number]}: {reason}" for number, reason in list(reasons.items())[:NAMED])
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    raise InputError(
        f"{folder}: {len(reasons)} of {count} images cannot be decoded ({named}{more}); expected at most a tenth. "
        "Copy them once more from where they came, or move them out of the folder"
    )


def _turns(files: Sequence[Path], headers: Mapping[int, ImageHeader]) -> tuple[dict[int, int], list[Note]]:
    """EXIF's orientations that are applied, by number.

    A phone on an eyepiece sets them by chance when the scope points up or down, while its pictures stay as they are;
    other programs store turned pictures. Where files differ, each is read in the way that gives it the size of most,
    and where both ways do, in the one that makes neighbours alike.
    """
    said = {number: header for number, header in headers.items() if header.orientation != UPRIGHT}
    if len({header.orientation for header in headers.values()}) < 2:
        return {number: header.orientation for number, header in said.items()}, []
    ways = Counter(header.upright_size for header in headers.values())
    ways += Counter(header.stored_size for header in said.values())
    usual = ways.most_common(1)[0][0]
    joins = _turning_joins(files, headers) if any(map(_fits_both, said.values())) else True
    turns = {n: h.orientation for n, h in said.items() if (joins if _fits_both(h) else h.upright_size == usual)}
    kept = len(said) - len(turns)
    done = [f"turned upright {len(turns)}"] * (len(turns) > 0)
    done += [f"read as stored, which fits the others, {kept}"] * (kept > 0)
    text = f"{len(said)} of {len(headers)} images have an EXIF orientation of their own: {', '.join(done)}"
    return turns, [Note(NoteCode.IMAGES_TURNED, text)]


def _turning_joins(files: Sequence[Path], headers: Mapping[int, ImageHeader]) -> bool:
    """Whether neighbours of different orientations are more alike when they are turned than as they are stored."""
    numbers = list(headers)
    pairs = [(a, b) for a, b in pairwise(numbers) if _differ(headers[a], headers[b])]
    difference = {True: 0.0, False: 0.0}
    for pair in spread_over(pairs, PROBES):
        try:
            pictures = [_small(read_levels(files[n])) for n in pair]
        except UndecodableError:
            continue
        upright = [turned(picture, headers[n].orientation) for picture, n in zip(pictures, pair, strict=True)]
        difference[True] += float(np.abs(upright[0] - upright[1]).mean())
        difference[False] += float(np.abs(pictures[0] - pictures[1]).mean())
    return difference[True] <= difference[False]


def _fits_both(header: ImageHeader) -> bool:
    """Whether a picture has the same size turned and as it is stored."""
    return header.upright_size == header.stored_size


def _differ(one: ImageHeader, other: ImageHeader) -> bool:
    return one.orientation != other.orientation


def _small(levels: NDArray[Any]) -> NDArray[Any]:
    return cv2.resize(levels.astype(np.float32), (COMPARED_PX, COMPARED_PX), interpolation=cv2.INTER_AREA)


def _of_other_size(
    files: Sequence[Path], sizes: Mapping[int, tuple[int, int]], usual: tuple[int, int], turns: Mapping[int, int]
) -> Unusable:
    """The few images of another size than most.

    Raises:
        InputError: If they are more than a tenth.
    """
    others = [number for number, size in sizes.items() if size != usual]
    if len(others) * TOLERATED > len(sizes):
        first, like = others[0], next(number for number, size in sizes.items() if size == usual)
        width, height = sizes[first]
        is_turned = turns.get(first) in SIDEWAYS and (height, width) == usual
        reason = ", turned by its EXIF orientation" if is_turned else ""
        raise InputError(
            f"{files[first]}: {width}x{height} pixels{reason}; expected {usual[0]}x{usual[1]} as in {files[like].name}"
            f". All images must come from one camera at one size ({len(others)} of {len(sizes)} have another)"
        )
    usually = f"the others have {usual[0]}x{usual[1]}"
    return {n: (DropReason.OTHER_SIZE, f"{sizes[n][0]}x{sizes[n][1]} pixels; {usually}") for n in others}


def _white_level(files: Sequence[Path]) -> tuple[float, list[Note]]:
    """The highest level that images of more than 8 bits use, one for all, so that brightness does not jump."""
    if all(levels.dtype == np.uint8 for levels in _decoded(spread_over(files, PROBES))):
        return ALL_BITS, []
    return white_level(_decoded(spread_over(files, SAMPLES)))


def _decoded(files: Iterable[Path]) -> Iterator[NDArray[Any]]:
    for file in files:
        try:
            yield read_levels(file)
        except UndecodableError:
            logger.debug("%s: cannot be decoded", file)


def iter_images(source: SourceInfo, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The images of a folder, whole, by number, as RGB (H, W, 3) uint8; those that cannot be decoded are skipped."""
    for number in numbers:
        if number >= len(source.names) or number in source.unusable:
            continue
        try:
            levels = read_levels(source.path / source.names[number])
        except UndecodableError as error:
            logger.warning("%s", error)
            continue
        yield number, turned(to_bytes(levels, source.white_level), source.turns.get(number, UPRIGHT))
