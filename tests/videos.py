"""Small videos of every kind, whose frames show their own number."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 96, 64
BAND = 12
"""Rows at the bottom in which eight fields, black or white, are the bits of the number."""


def picture(number: int, moved: float | None = None) -> np.ndarray:
    """A texture that moves by two pixels a frame, above the number of the frame."""
    coarse = np.random.default_rng(1).integers(60, 200, (12, 16, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = np.roll(image, round(2 * (number if moved is None else moved)), 1).copy()
    for bit in range(8):
        image[-BAND:, bit * 12 : bit * 12 + 12] = 235 if number >> bit & 1 else 16
    return image


def number_in(image: np.ndarray) -> int:
    """The number that a picture of any size shows."""
    height, width = image.shape[:2]
    row, cell = round(height * (1 - BAND / 2 / HEIGHT)), width / 8
    levels = [image[row - 1 : row + 2, int((b + 0.35) * cell) : int((b + 0.65) * cell)].mean() for b in range(8)]
    return sum(int(level > 125) << bit for bit, level in enumerate(levels))


def interlaced(number: int, first: int = 0) -> np.ndarray:
    """Lines of one moment woven with lines of half a frame later; ``first``: the earlier ones, upper 0 or lower 1."""
    image = picture(number)
    image[1 - first :: 2] = picture(number, number + 0.5)[1 - first :: 2]
    return image


def write(
    path: Path,
    images: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    form: str | None = None,
    times_ms: Sequence[int] | None = None,
    key_every: int = 6,
    aspect: Fraction | None = None,
    turn_deg: int | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    pixels: str | None = None,
) -> Path:
    """Encode pictures with two B-frames between others where the codec knows them, at 25 frames a second."""
    with av.open(str(path), "w", format=form, options=container or {}) as output:
        stream: Any = output.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.gop_size = key_every
        if codec in ("mpeg2video", "mpeg4"):
            stream.codec_context.max_b_frames = 2
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn_deg is not None:
            stream.set_display_rotation(turn_deg)
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[k], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def numbered(path: Path, count: int = 60, codec: str = "libx264", first: int = 0, **settings: Any) -> Path:
    """A video of pictures with their numbers."""
    return write(path, [picture(k) for k in range(first, first + count)], codec, **settings)


def damage(path: Path, packets: Sequence[int]) -> Path:
    """Overwrite packets of a video, by their place in the file."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content, noise = bytearray(path.read_bytes()), np.random.default_rng(0)
    for packet in packets:
        begin, size = places[packet]
        content[begin : begin + size] = noise.integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(content)
    return path
