"""Which levels of images of more than 8 bits are in use."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.notes import Note, NoteCode

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras use of the 16 of a file."""
ALL_BITS = 65535.0


def white_level(images: Iterable[NDArray[Any]], stated_bits: int = 16) -> tuple[float, list[Note]]:
    """The highest level in use, one for all images, so that brightness does not jump; a note where it is unusual.

    Args:
        images: Some of them; those of uint8 say nothing.
        stated_bits: How many bits the file says are used; fewer than 16 are believed as long as they suffice.
    """
    deep = [levels for levels in images if levels.dtype != np.uint8]
    peak = max((float(np.nanmax(levels)) for levels in deep), default=ALL_BITS)
    if deep and deep[0].dtype.kind == "f":
        white = 1.0 if peak <= 1.0 else max(peak, 255.0)
        return white, [Note(NoteCode.IMAGES_SCALED, f"the images hold fractions: {white:g} is read as white in all")]
    bits = next(b for b in BIT_DEPTHS if peak < 2**b or b == BIT_DEPTHS[-1])
    if stated_bits < BIT_DEPTHS[-1] and peak < 2**stated_bits:
        return float(2**stated_bits - 1), []
    white = float(2**bits - 1)
    if bits == BIT_DEPTHS[-1]:
        return white, []
    text = f"the images use {bits} of their 16 bits: level {white:.0f} is read as white in all of them"
    return white, [Note(NoteCode.IMAGES_SCALED, text)]
