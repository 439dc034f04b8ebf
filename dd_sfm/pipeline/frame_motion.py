"""Which frames of a path are used, by how far the picture moved since the last one that was."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.pipeline.frame_selection import Drops
from dd_sfm.structures import DropReason

ALIKE, ALIKE_LEVELS = 0.8, 4.0
"""Two frames show the same when they correlate by this much or differ by so many grey levels on average.

Flow from or to a frame without texture is nearly zero, whatever moved: small flow alone says little.
"""
NEAR, FAR = 0.6, 1.5
"""From the first share of the wanted motion on a frame may be a key frame: the sharpest one is, up to the second."""
AT_END = 0.2
"""The last frame, of all or before flow is lost, is a key frame from this share on."""

Grey = NDArray[Any]


class Moving(Protocol):
    """A frame on its way: ``grey`` (h, w) uint8 is a small copy, by which motion is seen."""

    @property
    def number(self) -> int:
        """Of the source frame."""

    @property
    def sharpness(self) -> float:
        """See :func:`dd_sfm.pipeline.frame_texture.sharpness_of`."""

    @property
    def grey(self) -> Grey:
        """The small copy."""


FrameT = TypeVar("FrameT", bound=Moving)


class MotionMeter:
    """Measures the motion between small grey copies of frames.

    Args:
        inside: The field of view (h, w) bool in them.
        scale: Their size, relative to working pixels.
    """

    def __init__(self, inside: NDArray[np.bool_], scale: float) -> None:
        self.inside, self.scale = inside, scale
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self._flow = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]

    def flow(self, first: Grey, second: Grey) -> NDArray[np.float32]:
        """Where the pixels of one frame go to in another one (h, w, 2)."""
        return np.asarray(self._flow.calc(first, second, None))

    def motion_px(self, flow: NDArray[np.float32]) -> float:
        """The median length of flow in the field of view, in working pixels."""
        moved = np.linalg.norm(flow[self.inside], axis=1) / self.scale
        return float(np.median(moved)) if self.inside.any() else 0.0

    def is_followed(self, first: Grey, second: Grey, flow: NDArray[np.float32]) -> bool:
        """Whether the second frame, taken back along the flow, is alike the first one, where it stays in the field."""
        rows, columns = np.indices(first.shape, np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        stays = cv2.remap(self.inside.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
        both = self.inside & stays
        back = cv2.remap(second, x, y, cv2.INTER_LINEAR)
        return are_alike(first[both], back[both]) if both.any() else False


def are_alike(first: Grey, second: Grey) -> bool:
    """Whether grey values (N,) of the same pixels in two frames are those of one picture, in lighter or darker."""
    a, b = (values.astype(np.float32) - values.mean(dtype=np.float32) for values in (first, second))
    if not len(a) or np.abs(a - b).mean() <= ALIKE_LEVELS:
        return True
    return float(a @ b) >= ALIKE * float(np.sqrt((a @ a) * (b @ b)))


def moved_frames(frames: Iterable[FrameT], meter: MotionMeter, least_px: float, dropped: Drops) -> Iterator[FrameT]:
    """The frames that moved by so much since the last one yielded; the others are entered into ``dropped``."""
    last: Grey | None = None
    for frame in frames:
        if last is not None and least_px > 0:
            motion = meter.motion_px(meter.flow(last, frame.grey))
            if motion < least_px and are_alike(last[meter.inside], frame.grey[meter.inside]):
                detail = f"no motion: {motion:.2f} working px since the last frame kept"
                dropped[frame.number] = DropReason.NO_MOTION, detail
                continue
        last = frame.grey
        yield frame


def key_frames(frames: Iterable[FrameT], meter: MotionMeter, spacing_px: float, dropped: Drops) -> Iterator[FrameT]:
    """Frames about so far apart, the sharpest ones near that; the others are entered into ``dropped``.

    Where flow does not lead from the last key frame to a frame, the one before it is a key frame, so that the path is
    not broken, and so it may be itself. The last frame is one, too, unless it is where the last key frame is.
    """
    last: FrameT | None = None
    best: FrameT | None = None  # The sharpest one far enough from the last key frame...
    latest: FrameT | None = None  # ...and the last one seen: one of them may become a key frame.
    latest_px = 0.0

    def drop(*unused: FrameT | None) -> None:
        dropped.update({f.number: (DropReason.BETWEEN_KEYS, "between key frames") for f in unused if f is not None})

    for frame in frames:
        motion = _motion(last, frame, meter, spacing_px)
        bridge: FrameT | None = None
        moved = latest if latest_px >= AT_END * spacing_px else None
        if motion == np.inf:
            bridge = moved
        elif motion >= FAR * spacing_px:
            bridge = best or moved
        elif motion >= spacing_px and best is not None and best.sharpness > frame.sharpness:
            bridge = best
        if bridge is not None:
            drop(*(f for f in (best, latest) if f is not bridge))
            yield bridge
            last, best, latest, latest_px = bridge, None, None, 0.0
            motion = _motion(last, frame, meter, spacing_px)
        if motion >= spacing_px:
            drop(best, latest)
            yield frame
            last, best, latest, latest_px = frame, None, None, 0.0
            continue
        if latest is not best:
            drop(latest)
        latest, latest_px = frame, motion
        if motion >= NEAR * spacing_px and (best is None or frame.sharpness >= best.sharpness):
            drop(best)
            best = frame
    if latest is not None and latest_px >= AT_END * spacing_px:
        if best is not latest:
            drop(best)
        yield latest
    else:
        drop(best, latest)


def _motion(last: Moving | None, frame: Moving, meter: MotionMeter, most_px: float) -> float:
    """Motion since the last key frame; infinite where there is none, or flow does not lead to the frame."""
    if last is None:
        return np.inf
    flow = meter.flow(last.grey, frame.grey)
    motion = meter.motion_px(flow)
    return motion if motion >= most_px or meter.is_followed(last.grey, frame.grey, flow) else np.inf
