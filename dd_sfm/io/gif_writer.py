"""Animated GIF, one frame in memory at a time."""

from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dd_sfm.io.encoded import write_encoded

COLOURS = 255
"""Of a palette: one of the 256 is left for 'as in the frame before'."""


def write_gif(path: Path, frames: Iterable[NDArray[Any]], *, fps: float) -> int:
    """Write RGB (H, W, 3) uint8 frames of one size as a GIF that repeats; see :func:`write_encoded`.

    Args:
        path: The file.
        frames: Images, taken one at a time; each gets a palette of its own.
        fps: Frames a second; players know hundredths of a second.

    Returns:
        The number of frames written.

    Raises:
        OutputError: If the file cannot be written.
    """
    import av

    def add_stream(container: Any) -> Any:
        stream = container.add_stream("gif", rate=Fraction(fps).limit_denominator(100))
        stream.pix_fmt = "pal8"
        return stream

    return write_encoded(
        path, frames, container_format="gif", add_stream=add_stream, to_picture=partial(_with_palette, av)
    )


def _with_palette(av: Any, image: NDArray[Any]) -> Any:
    reduced = Image.fromarray(image).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    return av.VideoFrame.from_ndarray((np.asarray(reduced), palette), format="pal8")
