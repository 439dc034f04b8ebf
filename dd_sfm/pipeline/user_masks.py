"""Masks that the user gives: one for all frames, or a folder with one a frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.image_files import read_header, read_levels, to_bytes
from dd_sfm.io.images import MASK_THRESHOLD, has_image_suffix, natural_key
from dd_sfm.io.source import SourceInfo

DEEP_WHITE = 65535.0
"""White in masks of more than 8 bits."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class UserMasks:
    """What ``--mask`` gives for a source: ``common``, a mask (H, W) of all frames, or files of a folder by number."""

    source: SourceInfo
    common: Mask | None = None
    folder: Path | None = None
    files: Mapping[int, Path] = field(default_factory=dict)

    def of_frame(self, number: int) -> Mask | None:
        """The mask (H, W) of one source frame; None where the folder has none."""
        return _read(self.files[number], self.source) if number in self.files else None


def read_user_masks(path: Path | None, source: SourceInfo) -> UserMasks:
    """Look at what ``--mask`` names: an image, or a folder of images named as the frames; 255 usable, threshold 128.

    A mask is of the source's whole picture or of the part that is used. In a folder it belongs to the frame whose file
    in the source has its name, with or without a suffix of its own, or whose source number is its name, as in a run's
    ``frames/`` and ``masks/``. The names of images come first: in a folder of images that are called by numbers their
    masks are so, too. Of several sources a mask whose name images of two have is of the frame that a run calls so.

    Raises:
        InputError: If it cannot be read, has another size than the frames, is empty, or fits no frame.
    """
    if path is None:
        return UserMasks(source)
    if not path.is_dir():
        mask = _read(path, source)
        if not mask.any():
            raise InputError(f"--mask {path}: no pixel of 128 or more; expected 255 where frames are usable")
        return UserMasks(source, mask)
    files = sorted((p for p in path.iterdir() if has_image_suffix(p) and p.is_file()), key=natural_key)
    if not files:
        raise InputError(f"--mask {path}: no image in this folder; expected one a frame, 255 where it is usable")
    if source.parts:
        found = _of_several(path, files, source)
    else:
        found = _by_source_name(path, files, source.names) or _by_number(path, files, source.frame_count)
    if not found:
        as_named = f"{source.names[0]}.png or " if source.names else ""
        raise InputError(
            f"--mask {path}: none of {len(files)} images is named as a frame ({files[0].name}, ...); expected names "
            f"such as {as_named}{source.stem(12)}.png, by the number in the source, which begins at 0"
        )
    for file in found.values():
        header = read_header(file)
        _check_size(file, (header.width, header.height), source)
    if not any(_read(file, source).any() for file in found.values()):
        raise InputError(f"--mask {path}: no pixel of 128 or more in any mask; expected 255 where frames are usable")
    return UserMasks(source, folder=path, files=found)


def _read(path: Path, source: SourceInfo) -> Mask:
    grey: NDArray[Any] = cv2.cvtColor(to_bytes(read_levels(path), DEEP_WHITE), cv2.COLOR_RGB2GRAY)
    size = (grey.shape[1], grey.shape[0])
    _check_size(path, size, source)
    if size == source.stored_size != source.picture_size:
        grey, size = cv2.resize(grey, source.picture_size, interpolation=cv2.INTER_LINEAR), source.picture_size
    if size == source.picture_size:
        grey = source.cut(grey)
    return np.asarray(grey >= MASK_THRESHOLD)


def _check_size(path: Path, size: tuple[int, int], source: SourceInfo) -> None:
    if size not in (source.picture_size, source.stored_size, (source.width, source.height)):
        whole = f" or {source.picture_size[0]}x{source.picture_size[1]}, as the whole picture" if source.crop else ""
        raise InputError(
            f"--mask {path}: {size[0]}x{size[1]} pixels; expected {source.width}x{source.height}, as the frames{whole}"
        )


class _ImageNames:
    """The images of a folder by the names of their masks; ``a.png.png`` and ``a.png`` both belong to ``a.png``."""

    def __init__(self, names: Sequence[str]) -> None:
        self._whole = {name.lower(): number for number, name in enumerate(names)}
        self._stems: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            self._stems.setdefault(Path(name).stem.lower(), []).append(number)

    def numbers(self, file: Path) -> list[int]:
        """The numbers of the images that a mask has the name of; several have it where only their suffixes differ."""
        own = file.stem.lower()
        return [self._whole[own]] if own in self._whole else self._stems.get(_without_suffixes(file).lower(), [])


def _by_source_name(folder: Path, files: Sequence[Path], names: Sequence[str]) -> dict[int, Path]:
    """Masks by the number of the image with their name."""
    images, found = _ImageNames(names), dict[int, Path]()
    for file in files:
        for number in images.numbers(file):
            _enter(found, number, file, folder)
    return found


def _by_number(folder: Path, files: Sequence[Path], count: int) -> dict[int, Path]:
    """Masks by the source number that is their name, as a run names its frames."""
    found: dict[int, Path] = {}
    for file in files:
        name = _without_suffixes(file)
        if name.isascii() and name.isdecimal() and int(name) < count:
            _enter(found, int(name), file, folder)
    return found


def _of_several(folder: Path, files: Sequence[Path], source: SourceInfo) -> dict[int, Path]:
    """Masks of several sources: each is of the image with its name, or else of the frame that a run would call so."""
    in_run = {source.stem(number).lower(): number for number in range(source.frame_count)}
    images = [(span.start, _ImageNames(part.names)) for part, span in zip(source.parts, source.spans, strict=True)]
    found: dict[int, Path] = {}
    for file in files:
        named = [[start + number for number in names.numbers(file)] for start, names in images if names.numbers(file)]
        own = in_run.get(_without_suffixes(file).lower())
        if len(named) > 1 and own is None:
            raise InputError(
                f"--mask {folder}: {file.name} has the name of images of {len(named)} sources; expected the name of "
                f"its frame in the run, such as {source.stem(named[0][0])}.png"
            )
        for number in named[0] if len(named) == 1 else [] if own is None else [own]:
            _enter(found, number, file, folder)
    return found


def _without_suffixes(file: Path) -> str:
    """The name of an image without its suffix and that of the image that it is a mask of."""
    named = Path(file.stem)
    return named.stem if has_image_suffix(named) else named.name


def _enter(found: dict[int, Path], number: int, file: Path, folder: Path) -> None:
    if number in found:
        raise InputError(
            f"--mask {folder}: {found[number].name} and {file.name} are both of one frame; expected one mask a frame"
        )
    found[number] = file
