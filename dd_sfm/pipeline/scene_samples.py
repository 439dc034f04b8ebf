"""Frames by which the field of view is found: spread over the source, and all of the scene."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.ops.spread import spread_over
from dd_sfm.pipeline.frame_content import DIM_LEVEL, Overview, main_group, one_colour, overview

SAMPLES = 16
"""Frames by which the field of view is found, and so many are looked at unless too few of them show the scene."""
ENOUGH = 6
"""Frames of the scene by which its field of view, and what is laid over it, can be told."""
MORE = 4
"""By this factor the number of frames looked at grows until there are enough."""
MOST_HELD = 3 * SAMPLES
"""Frames in memory."""

Image = NDArray[Any]
Read = Callable[[list[int]], Iterator[tuple[int, Image]]]
"""Reads source frames by their numbers, ascending; those that cannot be decoded are skipped."""


def scene_samples(numbers: Sequence[int], read: Read, where: str) -> list[Image]:
    """Frames that show the scene, in the field of view that most frames have.

    Blank frames, menus and the like may be many: more frames are looked at until enough show the scene, in the end all.

    Args:
        numbers: Those that are used of the source.
        read: Reads some of them.
        where: Names the source in errors.

    Raises:
        InputError: If no frame can be decoded, or all are blank.
    """
    overviews: dict[int, Overview] = {}
    images: dict[int, Image] = {}
    seen: set[int] = set()
    group: list[int] = []
    count = SAMPLES
    while len(group) < min(ENOUGH, len(numbers)) and len(seen) < len(numbers):
        wanted = sorted(set(spread_over(numbers, count)) - seen)
        seen |= _look(wanted, read, overviews, images)
        order = sorted(overviews)
        group = [order[k] for k in main_group([overviews[number] for number in order])]
        images = {number: images[number] for number in group if number in images}
        count *= MORE
    if not overviews:
        raise nothing_decoded(where)
    if not group:
        what = "black" if max(small.max() for small in overviews.values()) < DIM_LEVEL else "blank, of one colour"
        raise InputError(f"{where}: all frames are {what}; expected a picture in at least 3 of them")
    chosen = spread_over(group, SAMPLES)
    missing = [number for number in chosen if number not in images]
    images |= dict(read(missing)) if missing else {}
    return [images[number] for number in chosen if number in images]


def _look(wanted: list[int], read: Read, overviews: dict[int, Overview], images: dict[int, Image]) -> set[int]:
    """Enter overviews of frames, and those that are not blank themselves; returns the numbers that were looked at."""
    for number, image in read(wanted):
        overviews[number] = overview(image)
        if not one_colour(overviews[number]):
            images[number] = image
        if len(images) >= MOST_HELD:
            return {n for n in wanted if n <= number}
    return set(wanted)


def nothing_decoded(where: str) -> InputError:
    """The error for a source of which no frame can be decoded."""
    return InputError(f"{where}: no frame of the chosen range can be decoded; expected at least 3")
