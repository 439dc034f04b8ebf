"""Animated GIF, one frame in memory at a time."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dd_sfm.errors import OutputError

COLOURS = 255
"""Of a palette: one of the 256 is left for 'as in the frame before'."""


def write_gif(path: Path, frames: Iterable[NDArray[Any]], *, fps: float) -> int:
    """Write RGB (H, W, 3) uint8 frames of one size as a GIF that repeats; complete or not there at all.

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

    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        with av.open(str(partial), "w", format="gif") as container:
            stream: Any = None
            for image in frames:
                if stream is None:
                    stream = container.add_stream("gif", rate=Fraction(fps).limit_denominator(100))
                    stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "pal8"
                container.mux(stream.encode(_with_palette(av, image)))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
        partial.replace(path)
    except (OSError, av.error.FFmpegError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another output folder") from error
    finally:
        # Also when it is the making of the frames that fails.
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
    return count


def _with_palette(av: Any, image: NDArray[Any]) -> Any:
    reduced = Image.fromarray(image).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    return av.VideoFrame.from_ndarray((np.asarray(reduced), palette), format="pal8")
