"""From decoded frames to upright RGB pictures of square pixels, without interlacing."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

FieldOrder = Literal["tff", "bff", "auto"]
"""Which lines of an interlaced frame are earlier: the upper ones, the lower ones, or as each frame says."""
UPRIGHT = (1, 0, 0, 1)
LEAST_ASPECT = 0.004
"""Pixels are taken as square when they are so by less than this."""


@dataclass(frozen=True)
class Display:
    """How the frames of a video are shown.

    ``width``, ``height``: as stored; ``pixel_aspect``: width over height of a pixel; ``turn`` (a, b, c, d): a stored
    pixel (x, y) is shown at (a x + c y, b x + d y), all 0, 1 or -1; ``fields``: which lines of interlaced frames come
    first, None for a video that is not interlaced; ``flagged_only``: only frames that say so are interlaced.
    """

    width: int
    height: int
    pixel_aspect: Fraction = Fraction(1)
    turn: tuple[int, int, int, int] = UPRIGHT
    fields: FieldOrder | None = None
    flagged_only: bool = False

    @property
    def square(self) -> tuple[int, int]:
        """Width and height of the stored picture with square pixels: the longer side of a pixel keeps its number."""
        if abs(self.pixel_aspect - 1) < LEAST_ASPECT:
            return self.width, self.height
        if self.pixel_aspect > 1:
            return round(self.width * self.pixel_aspect), self.height
        return self.width, round(self.height / self.pixel_aspect)

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the picture that is shown."""
        width, height = self.square
        return (width, height) if self.turn[0] else (height, width)

    @property
    def shown_as_stored(self) -> tuple[int, int]:
        """Width and height of the picture that is shown, with the pixels that are stored."""
        return (self.width, self.height) if self.turn[0] else (self.height, self.width)

    def turned(self, image: NDArray[Any]) -> NDArray[Any]:
        """A stored picture (H, W, 3) as it is shown."""
        a, b, c, d = self.turn
        if not a:
            image = image.swapaxes(0, 1)
        rows, columns = slice(None, None, d or b), slice(None, None, a or c)
        return np.ascontiguousarray(image[rows, columns])


class PictureMaker:
    """Makes RGB pictures of frames as ffmpeg does: by the colour matrix and range that a frame states, or BT.601."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[Any]:
        """The picture (H, W, 3) uint8 of a frame of the stored size."""
        width, height = self.display.square
        picture = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
        )
        return self.display.turned(picture.to_ndarray())


def turn_of(frame: VideoFrame) -> tuple[int, int, int, int]:
    """How a frame is to be turned and mirrored, by its display matrix; see :class:`Display`."""
    try:
        side = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:
        # PyAV knows no name for some data, such as EXIF's, and then gives out none; a turn it tells all the same.
        angle = np.radians(-frame.rotation)
        a, b, c, d = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    else:
        if side is None:
            return UPRIGHT
        a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5] / 65536
    along, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if not along and not across:
        return UPRIGHT
    if along >= across:
        return (1 if a >= 0 else -1), 0, 0, (1 if d >= 0 else -1)
    return 0, (1 if b >= 0 else -1), (1 if c >= 0 else -1), 0


def deinterlaced(frames: Iterator[tuple[int, VideoFrame]], display: Display) -> Iterator[tuple[int, VideoFrame]]:
    """Frames of which both fields are weighed by ffmpeg's bwdif, one for one; frames before and after are needed."""
    mode = f"send_frame:{display.fields}:{'interlaced' if display.flagged_only else 'all'}"
    graph: tuple[Any, Any, Any] | None = None
    numbers = deque[int]()
    for count, (number, frame) in enumerate(frames):
        graph = _graph(frame, "bwdif", mode) if graph is None else graph
        _, source, sink = graph
        frame.pts, frame.time_base = count, Fraction(1, 25)
        numbers.append(number)
        source.push(frame)
        yield from ((numbers.popleft(), out) for out in _pull(sink))
    if graph is not None:
        _, source, sink = graph
        source.push(None)
        yield from ((numbers.popleft(), out) for out in _pull(sink))


def _graph(frame: VideoFrame, name: str, arguments: str) -> tuple[Any, Any, Any]:
    """A filter with its source and its sink; the graph has to be held as long as they are."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    middle, sink = graph.add(name, arguments), graph.add("buffersink")
    source.link_to(middle)
    middle.link_to(sink)
    graph.configure()
    return graph, source, sink


def _pull(sink: Any) -> Iterator[VideoFrame]:
    while True:
        try:
            yield sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


@dataclass(frozen=True)
class FieldCounts:
    """How many frames move as interlaced ones do, upper or lower lines first, and how many as whole ones do."""

    upper: int = 0
    lower: int = 0
    whole: int = 0

    def __add__(self, other: "FieldCounts") -> "FieldCounts":
        return FieldCounts(self.upper + other.upper, self.lower + other.lower, self.whole + other.whole)


def count_fields(frames: list[VideoFrame]) -> FieldCounts:
    """Tell interlaced frames that follow on each other by ffmpeg's idet; those without motion tell nothing."""
    if len(frames) < 3:
        return FieldCounts()
    _graph_held, source, sink = _graph(frames[0], "idet", "")
    found = []
    for count, frame in enumerate(frames):
        frame.pts, frame.time_base = count, Fraction(1, 25)
        source.push(frame)
        found += [out.metadata.get("lavfi.idet.single.current_frame", "") for out in _pull(sink)]
    source.push(None)
    found += [out.metadata.get("lavfi.idet.single.current_frame", "") for out in _pull(sink)]
    return FieldCounts(*(found.count(kind) for kind in ("tff", "bff", "progressive")))


def field_shift(frames: list[VideoFrame]) -> float:
    """By how many pixels the two fields of a frame are apart, in the frames that move most (the upper quartile)."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
    shifts = []
    for frame in frames:
        grey = frame.reformat(format="gray").to_ndarray()
        lines = len(grey) // 2 * 2
        upper, lower = (np.ascontiguousarray(grey[first:lines:2]) for first in (0, 1))
        moved = flow.calc(upper, lower, None)
        # The lower field lies half of its lines lower, so that what holds still seems to move up by that.
        shifts.append(float(np.median(np.hypot(moved[..., 0], 2 * (moved[..., 1] + 0.5)))))
    return float(np.percentile(shifts, 75)) if shifts else 0.0
