"""The frames of a video: their numbers in the order of display, their times, and where decoding begins for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.video_packets import NO_TIME, Packets

LONGEST_PAUSE_S = 10.0
"""In a transport or program stream a longer gap is another recording, not a pause."""
STEPS_BACK = 4
"""Timestamps that go back by more steps between frames than this are those of another recording."""


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video in the order of display, by packet.

    ``packet`` (N,) int64: the packet of each frame; ``number`` (P,) int64: the frame of each packet, -1 for none;
    ``start`` (N,) int64: the packet at which decoding begins; ``keys`` (K,) int64: all packets at which it can;
    ``time_s`` (N,): when each is shown, from the first one, nan where not stated; ``recording`` (N,) int64: of which
    recording each frame is, where several were joined.
    """

    packet: NDArray[np.int64]
    number: NDArray[np.int64]
    start: NDArray[np.int64]
    keys: NDArray[np.int64]
    time_s: NDArray[np.float64]
    recording: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.packet)


def index_by_time(packets: Packets, *, restarts: bool) -> FrameIndex | None:
    """Number frames by the timestamps of their packets; None where these do not tell.

    Args:
        packets: Of the stream.
        restarts: Whether timestamps may jump ahead to another recording, as in a transport stream.
    """
    section = recordings_of(packets, restarts)
    frames = np.flatnonzero(packets.shown)
    order = frames[np.lexsort((packets.pts[frames], section[frames]))]
    pts = packets.pts[order]
    same = (np.diff(pts) == 0) & (np.diff(section[order]) == 0)
    if (pts == NO_TIME).any() or same.any() or not len(order):
        return None
    return _indexed(packets, order, pts, section)


def index_by_output(packets: Packets, order: NDArray[np.int64], *, restarts: bool) -> FrameIndex:
    """Number frames by the order in which a decoder gave them out.

    Args:
        packets: Of the stream.
        order: (N,) the packet of each frame.
        restarts: See :func:`index_by_time`.
    """
    section = recordings_of(packets, restarts)
    # What is decoded first is not shown first, but the times themselves are the same, up to the delay.
    times = np.sort(order)
    stamps = packets.dts if (packets.dts[order] != NO_TIME).all() else packets.pts
    return _indexed(packets, order, stamps[times], section)


def recordings_of(packets: Packets, restarts: bool) -> NDArray[np.int64]:
    """Of which recording every packet (P,) is: another one begins where timestamps start anew."""
    known = packets.dts != NO_TIME
    if known.sum() < 2:
        return np.zeros(len(packets), np.int64)
    steps = np.diff(packets.dts[known])
    forward = steps[steps > 0]
    usual = float(np.median(forward)) if len(forward) else 0.0
    new = steps < -STEPS_BACK * usual
    if restarts:
        new |= steps * packets.time_base > LONGEST_PAUSE_S
    section = np.zeros(len(packets), np.int64)
    section[np.flatnonzero(known)[1:][new]] = 1
    return np.cumsum(section)


def _indexed(
    packets: Packets, order: NDArray[np.int64], stamps: NDArray[np.int64], section: NDArray[np.int64]
) -> FrameIndex:
    number = np.full(len(packets), -1, np.int64)
    number[order] = np.arange(len(order))
    time_s = _times(stamps, section[order], packets.time_base)
    # Decoding begins anew with every recording, also where that lacks the key frame that it should begin with.
    begins = np.flatnonzero(np.diff(section, prepend=-1))
    keys = np.union1d(np.flatnonzero(packets.key & (number >= 0)), begins)
    return FrameIndex(order, number, _starts(keys, order, number), keys, time_s, section[order])


def _times(stamps: NDArray[np.int64], section: NDArray[np.int64], time_base: float) -> NDArray[np.float64]:
    """Seconds from the first frame; recordings follow on each other. Without timestamps: all nan."""
    if (stamps == NO_TIME).any():
        return np.full(len(stamps), np.nan)
    steps = np.diff(stamps)
    within = steps[(np.diff(section) == 0) & (steps > 0)]
    usual = np.int64(np.median(within)) if len(within) else np.int64(0)
    steps = np.where(np.diff(section) != 0, usual, np.maximum(steps, 0))
    return np.concatenate([[0], np.cumsum(steps)]) * time_base


def _starts(keys: NDArray[np.int64], order: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """The packet from which each frame can be decoded: that of the last key frame before it in the file.

    Frames that come after a key frame in the file but are shown before it need what was before.
    """
    at = np.searchsorted(keys, order, side="right") - 1
    return keys[np.maximum(at - (number[keys[at]] > number[order]), 0)]
