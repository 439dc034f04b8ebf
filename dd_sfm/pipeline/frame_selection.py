"""Which frames of a source are used: the range asked for, thinned to a number, and why others are not."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import FramesConfig
from dd_sfm.config_checks import seconds_of
from dd_sfm.errors import InputError
from dd_sfm.io.images import has_image_suffix
from dd_sfm.io.source import SourceInfo
from dd_sfm.io.source_hints import source_hint
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.spread import spread_over
from dd_sfm.structures import DropReason, FrameRecord

Drops = dict[int, tuple[DropReason, str]]
"""Source frames that are not used: why, and the measurement behind it."""
ALWAYS_NAMED = ("too blurred", "without motion")
"""Reasons that are named where too few frames are left, even if no frame was left out for them."""
MOST_WITHOUT_KEYS = 400
"""Of more frames key frames are used, unless the user says which."""


def chosen_numbers(info: SourceInfo, config: FramesConfig) -> Sequence[int]:
    """The numbers that ``--start``, ``--end`` and ``--every`` choose, of several sources in each of them.

    Raises:
        InputError: If they are fewer than three, or a time is given for a folder of images.
    """
    if not info.parts:
        return _chosen_range(info, config, least=3)
    chosen: list[int] = []
    for part, span in zip(info.parts, info.spans, strict=True):
        chosen += [span.start + number for number in _chosen_range(part, config, least=1)]
    if len(chosen) < 3:
        raise InputError(f"{info.where}: {len(chosen)} frames chosen in all; expected at least 3. Choose a wider range")
    return chosen


def with_every(config: FramesConfig, chosen: int) -> FramesConfig:
    """Settings in which ``every`` is decided, for a source of which so many frames are chosen by ``--start`` and so on.

    A user who limits the number of frames gets them evenly spread.
    """
    if config.every is not None:
        return config
    at_most = min(chosen, config.max_frames or chosen)
    return replace(config, every="auto" if at_most > MOST_WITHOUT_KEYS else 1)


def chosen_by_source(info: SourceInfo, numbers: Sequence[int]) -> list[Sequence[int]]:
    """Numbers, ascending, those of each source on their own."""
    if not info.parts:
        return [numbers]
    ends = [bisect_left(numbers, span.stop) for span in info.spans]
    return [numbers[start:end] for start, end in pairwise([0, *ends])]


def _chosen_range(info: SourceInfo, config: FramesConfig, least: int) -> range:
    count = info.frame_count
    start = _number(info, "--start", config.start)
    end = count if config.end is None else min(_number(info, "--end", config.end), count)
    numbers = range(start, end, config.every if isinstance(config.every, int) else 1)
    if len(numbers) >= least:
        return numbers
    if info.names and count < least:
        raise InputError(
            f"{info.path}: a folder with {count} image{'s' * (count > 1)} ({', '.join(info.names)}); expected a video "
            f"file or a folder of at least 3 frames{source_hint(info.path)}"
        )
    if count < least:
        folder = f". Did you mean its folder, {info.path.parent}?" if has_image_suffix(info.path) else ""
        raise InputError(f"{info.path}: {count} frame{'s' * (count > 1)}; expected at least 3{folder}")
    has = f"{info.path}: has {count} frames, 0 to {count - 1}"
    if isinstance(config.start, str) or isinstance(config.end, str):
        has += f", in {info.time_s(count - 1):.2f} s"
    if start >= count:
        raise InputError(f"{has}; --start {config.start} is past the last one. Choose a smaller --start")
    if end <= start:
        raise InputError(
            f"{has}; --end {config.end} is not after --start {config.start}, and no frame is between them. Choose a "
            "larger --end, which is one past the last frame used"
        )
    every = config.every if isinstance(config.every, int) else 1
    asked = f"--start {config.start} --end {config.end if isinstance(config.end, str) else end} --every {every}"
    raise InputError(
        f"{has}; {asked} leaves {len(numbers)} of them; expected at least {least}. Choose a wider range or a smaller "
        "--every"
    )


def _number(info: SourceInfo, option: str, value: int | str) -> int:
    """The source number of a frame given by its number or its time."""
    seconds = seconds_of(value) if isinstance(value, str) else None
    if seconds is None:
        return int(value)
    if info.names:
        raise InputError(f"{info.path}: {option} {value}: images of a folder have no times; expected a frame number")
    return info.number_at(seconds)


def small_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height of an image resized by ``scale``, at least 16 pixels each."""
    return max(16, round(width * scale)), max(16, round(height * scale))


def small_image(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """A copy (h, w, 3) of an RGB image, resized by ``scale`` but at least 16 pixels wide and high."""
    size = small_size(image.shape[1], image.shape[0], scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def small_grey(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """The same in grey (h, w)."""
    return cv2.cvtColor(small_image(image, scale), cv2.COLOR_RGB2GRAY)


def small_area(area: NDArray[np.bool_], scale: float) -> NDArray[np.bool_]:
    """The pixels of :func:`small_image` in an area (H, W) of the image."""
    size = small_size(area.shape[1], area.shape[0], scale)
    return cv2.resize(area.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def thin(candidates: list[int], most: int | None, dropped: Drops) -> list[int]:
    """At most ``most`` candidates, evenly; the others are entered into ``dropped``."""
    if most is None or len(candidates) <= most:
        return candidates
    chosen = set(spread_over(candidates, most))
    dropped.update({n: (DropReason.THINNED, "thinned to --max-frames") for n in candidates if n not in chosen})
    return sorted(chosen)


def drop_notes(records: list[FrameRecord], config: FramesConfig) -> list[Note]:
    """How many frames were left out, and why."""
    notes = []
    still = f"as they moved by less than {config.min_motion_px:g} working pixels (frames.min_motion_px)"
    reasons = (
        (DropReason.UNDECODABLE, NoteCode.FRAMES_UNDECODABLE, "as they cannot be decoded"),
        (DropReason.OTHER_SIZE, NoteCode.FRAMES_OF_OTHER_SIZE, "as they have another size than the others"),
        (DropReason.BLANK, NoteCode.FRAMES_BLANK, "as blank"),
        (DropReason.OTHER_FIELD, NoteCode.FRAMES_OF_OTHER_FIELD, "as they show another field of view than most"),
        (DropReason.MASKED, NoteCode.FRAMES_MASKED, "as their mask leaves next to nothing of them"),
        (DropReason.FEATURELESS, NoteCode.FRAMES_FEATURELESS, "as they show nothing to match (the lens on the wall)"),
        (DropReason.OBSCURED, NoteCode.FRAMES_OBSCURED, "as water, bubbles or blur hide the scene in them"),
        (DropReason.BLURRED, NoteCode.FRAMES_BLURRED, "as blurred"),
        (DropReason.NO_MOTION, NoteCode.FRAMES_WITHOUT_MOTION, still),
    )
    between = sum(record.dropped is DropReason.BETWEEN_KEYS for record in records)
    if between:
        keys = sum(record.kept for record in records)
        text = (
            f"{keys} key frames of {len(records)} are used (--every auto); {between} between them get poses afterwards"
        )
        notes.append(Note(NoteCode.KEY_FRAMES, text))
    for reason, code, why in reasons:
        count = sum(record.dropped is reason for record in records)
        if count:
            frames = f"{count} of {len(records)} frames"
            notes.append(Note(code, f"{frames} left out {why}; frames.json says which"))
    return notes


def require_three(where: str, records: list[FrameRecord]) -> None:
    """See that enough frames are left.

    Raises:
        InputError: If fewer than three are.
    """
    kept = sum(r.kept for r in records)
    if kept >= 3:
        return
    reasons = (
        (DropReason.UNDECODABLE, "damaged", ""),
        (DropReason.OTHER_SIZE, "of another size", ""),
        (DropReason.BLANK, "blank", ""),
        (DropReason.OTHER_FIELD, "of another field of view", ""),
        (DropReason.MASKED, "masked", "masks that are 255 where frames are usable"),
        (DropReason.FEATURELESS, "without anything to match", "--set frames.min_sharpness=0"),
        (DropReason.OBSCURED, "obscured", "--set frames.min_sharpness=0"),
        (DropReason.BLURRED, "too blurred", "--set frames.min_sharpness=0"),
        (DropReason.NO_MOTION, "without motion", "--set frames.min_motion_px=0"),
        (DropReason.BETWEEN_KEYS, "between key frames", "--every 1"),
    )
    counts = [(sum(r.dropped is reason for r in records), words, hint) for reason, words, hint in reasons]
    found = ", ".join(f"{count} {words}" for count, words, _ in counts if count or words in ALWAYS_NAMED)
    hint = max(counts, key=lambda item: item[0])[2] or "a piece that shows the scene: --start, --end"
    raise InputError(f"{where}: {kept} usable frames of {len(records)} ({found}); expected at least 3. Try {hint}")
