"""The part of a source's pictures that is used: a crop, or one of the two pictures of a stereo endoscope."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dd_sfm.config import Config, FramesConfig
from dd_sfm.errors import InputError
from dd_sfm.io.calibration import Calibration, open_calibration
from dd_sfm.io.lens import Lens
from dd_sfm.io.several_sources import join_sources, source_paths
from dd_sfm.io.source import Crop, SourceInfo
from dd_sfm.io.video import open_source
from dd_sfm.notes import Note, NoteCode

LEAST_PX = 16
"""Least width and height of a part."""


def open_sources(source: Path | Sequence[Path], config: FramesConfig) -> SourceInfo:
    """Open a source, or several of one camera as one; see :func:`open_part`.

    Raises:
        InputError: If one cannot be opened or is given twice, or their pictures are not of one size.
    """
    return join_sources([open_part(path, config) for path in source_paths(source)])


def open_part(source: Path, config: FramesConfig) -> SourceInfo:
    """Open a source, of whose pictures ``frames.crop`` and then ``frames.stereo`` take a part.

    Raises:
        InputError: If it cannot be opened, or the part does not lie within its pictures.
    """
    info = open_source(source)
    if config.crop is not None:
        info = info.cropped(_within(Crop(*config.crop), info))
    if config.stereo is not None:
        before = info.crop or Crop(0, 0, info.width, info.height)
        info = info.cropped(_within(half(before, config.stereo), info))
        text = (
            f"the {config.stereo} half of stereo pictures is used, {info.width}x{info.height} pixels. If the recorder "
            "squeezed two pictures into one, its pixels are not square, and only a calibration with fx and fy of its "
            "own gives the right shape"
        )
        info = replace(info, notes=(*info.notes, Note(NoteCode.STEREO_HALF, text)))
    return info


def half(whole: Crop, side: str) -> Crop:
    """One half of a part: left, right, top or bottom."""
    x, y, width, height = whole
    if side in ("left", "right"):
        return Crop(x if side == "left" else x + width - width // 2, y, width // 2, height)
    return Crop(x, y if side == "top" else y + height - height // 2, width, height // 2)


def _within(crop: Crop, info: SourceInfo) -> Crop:
    width, height = info.picture_size
    if crop.x + crop.width > width or crop.y + crop.height > height:
        found = f"reaches to {crop.x + crop.width},{crop.y + crop.height} in pictures of {width}x{height} pixels"
    elif min(crop.width, crop.height) < LEAST_PX:
        found = f"{crop.width}x{crop.height} pixels; at least {LEAST_PX} each are needed"
    else:
        return crop
    text = ",".join(map(str, crop))
    raise InputError(f"{info.path}: the part {text} {found}; expected x,y,width,height within them (--crop, --stereo)")


def part_calibration(text: str, info: SourceInfo, config: Config) -> Calibration:
    """The calibration of the part that is used.

    A calibration without a size is of the whole picture, but with ``frames.stereo`` of the half, which is one camera's
    picture; one with a size is of what has that size, or else the same shape.

    Raises:
        InputError: If it fits neither the whole picture nor the part.
    """
    own = (info.width, info.height)
    sizes = [info.picture_size] if info.crop is None else [info.picture_size, own]
    for exact in (True, False):
        failed: list[InputError] = []
        for size in reversed(sizes) if config.frames.stereo else sizes:
            try:
                if size != info.picture_size:
                    return _open(text, size, config, exact)
                found = _whole_calibration(text, info, config, exact)
            except InputError as error:
                failed.append(error)
                continue
            return found if info.crop is None else replace(found, lens=found.lens.cropped(info.crop[:2], own))
    raise failed[0]


def _open(text: str, size: tuple[int, int], config: Config, exact: bool) -> Calibration:
    part = config.camera.calibration_crop
    return open_calibration(text, width=size[0], height=size[1], part=part, exact=exact)


def _whole_calibration(text: str, info: SourceInfo, config: Config, exact: bool) -> Calibration:
    """The calibration of the whole picture, also where it is that of the picture before its pixels were made square.

    One without a size is of the pixels for which its focal lengths are more alike in length.
    """
    found: list[Calibration] = []
    failed: list[InputError] = []
    for size in dict.fromkeys((info.picture_size, info.stored_size)):
        try:
            one = _open(text, size, config, exact)
        except InputError as error:
            failed.append(error)
            continue
        found.append(one if size == info.picture_size else replace(one, lens=one.lens.resized(info.picture_size)))
    if not found:
        raise failed[0]
    return min(found, key=lambda one: _unlike_focals(one.lens))


def _unlike_focals(lens: Lens) -> float:
    """How far the two focal lengths are from each other, as a logarithm of their ratio."""
    fx, fy, _, _ = lens.focal_and_centre
    return abs(math.log(fx / fy))
