"""Frames in which something before the scene hides it: water, bubbles, a smeared view.

They have texture, but another one in every frame. They are told by sharpness that is unusual for the clip, where no
frame nearby shows the same place.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from dd_sfm.pipeline.cuts import REACH, Comparison
from dd_sfm.pipeline.frame_selection import Drops
from dd_sfm.pipeline.frame_texture import Texture
from dd_sfm.structures import DropReason

UNUSUAL = 0.65, 1.45
"""A frame with sharpness between these shares of the usual one shows the scene, whether frames nearby do or not."""

Image = NDArray[Any]


class Seen(Protocol):
    """A frame on its way: ``overview`` (h, w) uint8 is a small grey copy by which frames are compared."""

    @property
    def number(self) -> int:
        """Of the source frame."""

    @property
    def texture(self) -> Texture:
        """How much there is to match in it."""

    @property
    def overview(self) -> Image:
        """The small grey copy."""


FrameT = TypeVar("FrameT", bound=Seen)


def unobscured(frames: Iterable[FrameT], comparison: Comparison, usual: Texture, dropped: Drops) -> Iterator[FrameT]:
    """The frames that show the scene; those with something before it are entered into ``dropped``.

    Args:
        frames: Of one source, in its order.
        comparison: Of their overviews.
        usual: The middle texture of the clip.
        dropped: Reasons by number.
    """
    near: deque[FrameT] = deque(maxlen=2 * REACH + 1)
    waiting = 0
    for frame in frames:
        near.append(frame)
        waiting += 1
        if waiting > REACH:
            yield from _judged(near, len(near) - 1 - REACH, comparison, usual, dropped)
            waiting -= 1
    for left in range(waiting, 0, -1):
        yield from _judged(near, len(near) - left, comparison, usual, dropped)


def _judged(
    near: Sequence[FrameT], place: int, comparison: Comparison, usual: Texture, dropped: Drops
) -> Iterator[FrameT]:
    frame = near[place]
    ratio = frame.texture.sharpness / usual.sharpness if usual.sharpness > 0 else 1.0
    if UNUSUAL[0] <= ratio <= UNUSUAL[1] or _is_seen_again(near, place, comparison):
        yield frame
        return
    detail = f"obscured: sharpness {ratio:.2f} of the usual one, and no frame nearby shows the same"
    dropped[frame.number] = DropReason.OBSCURED, detail


def _is_seen_again(near: Sequence[Seen], place: int, comparison: Comparison) -> bool:
    """Whether a frame nearby shows the same place, nearest first; where it turned only those next to it are asked."""
    own = near[place].overview
    others = [near[k].overview for k in range(max(0, place - REACH), min(len(near), place + REACH + 1)) if k != place]
    beside = [near[k].overview for k in (place - 1, place + 1) if 0 <= k < len(near)]
    if any(comparison.is_near(own, other) for other in others):
        return True
    return any(comparison.is_turned(own, other) for other in beside)
