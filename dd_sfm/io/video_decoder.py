"""Decoding chosen frames of a video, each from the key frame before it, in the order of display."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dd_sfm.io.shortage import raise_if_short
from dd_sfm.io.video_index import FrameIndex
from dd_sfm.io.video_packets import NO_TIME, Packets, iter_packets, open_container

NumberedFrame = tuple[int, VideoFrame]
SKIP_FROM = 48
"""More packets than this between two frames wanted are not decoded where a key frame allows it."""
SEEK_FROM = 2000
"""Fewer packets than this are read past rather than sought."""
MOST_WAITING = 20
"""Frames that come after a missing one before it is given up: more than any decoder holds back."""
KEYS_BACK = (0, 1, 8)
"""How many key frames earlier decoding begins when it does not give the first frame wanted."""


class Decoder:
    """One stream of a video file, open for decoding.

    Args:
        path: The video file.
        stream: Its number among all streams of the file.
        packets: The packets of the stream.
        threads: Threads that decode; 0: as many as there are cores.
    """

    def __init__(self, path: Path, stream: int, packets: Packets, threads: int = 0) -> None:
        self.path, self.number, self.packets, self.threads = path, stream, packets, threads
        self._open()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        self.container.close()

    def _open(self) -> None:
        self.container: InputContainer = open_container(self.path)
        self.stream: VideoStream = self.container.streams[self.number]  # type: ignore[assignment]
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = self.threads
        self._read: Iterator[Packet[Any]] = iter_packets(self.path, self.container, self.stream)
        self._next = 0

    def decode(self, first: int, last: int, only: Iterable[int] | None = None) -> Iterator[VideoFrame]:
        """The frames of packets ``first`` to ``last``, in the order in which the decoder gives them out.

        The ``pts`` of a frame becomes the number of its packet, since timestamps of files may be missing or wrong.

        Args:
            first: A packet at which decoding can begin.
            last: The last packet that is decoded.
            only: Packets of these that are decoded; None: all.
        """
        self._go_to(first)
        chosen = None if only is None else set(only)
        for packet in self._read:
            number, self._next = self._next, self._next + 1
            if number >= first and (chosen is None or number in chosen):
                packet.pts = packet.dts = number
                yield from self._decoded(packet)
            if self._next > last:
                break
        yield from self._decoded(None)
        self.stream.codec_context.flush_buffers()

    def _decoded(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        try:
            return self.stream.codec_context.decode(packet)
        except (av.FFmpegError, OSError) as error:
            raise_if_short(str(self.path), error)
            # Which frame it was shows in what comes out.
            return []

    def _go_to(self, packet: int) -> None:
        """See that ``packet`` is among those read next."""
        self.stream.codec_context.flush_buffers()
        if 0 <= packet - self._next < SEEK_FROM or self._seek(packet):
            return
        if packet < self._next:
            self.container.close()
            self._open()

    def _seek(self, packet: int) -> bool:
        """Go to a packet, or to one before it, where the container allows it; False leaves the place unknown."""
        stamp = self.packets.pts[packet]
        if stamp == NO_TIME:
            return False
        try:
            self.container.seek(int(stamp), stream=self.stream)
            read = iter_packets(self.path, self.container, self.stream)
            found = next(read, None)
        except (av.FFmpegError, OSError):
            found = None
        number = len(self.packets) if found is None else self._number_of(found)
        if found is None or number > packet:
            # Where the file is read now is not known: from the beginning, then.
            self._next = len(self.packets)
            return False
        self._read, self._next = chain([found], read), number
        return True

    def _number_of(self, packet: "Packet[Any]") -> int:
        """The number of a packet by what is known of it; more than there are when that is not clear."""
        pts = NO_TIME if packet.pts is None else packet.pts
        same = np.flatnonzero((self.packets.pts == pts) & (self.packets.size == packet.size))
        return int(same[0]) if len(same) == 1 else len(self.packets)


def iter_decoded(
    path: Path, stream: int, packets: Packets, index: FrameIndex, numbers: Sequence[int] | NDArray[np.int64]
) -> Iterator[NumberedFrame]:
    """Frames by number, ascending; those that cannot be decoded are left out.

    Args:
        path: The video file.
        stream: See :class:`Decoder`.
        packets: Of that stream.
        index: Its frames.
        numbers: Frames wanted, ascending.
    """
    wanted = np.asarray(numbers, np.int64)
    wanted = wanted[(wanted >= 0) & (wanted < len(index))]
    with Decoder(path, stream, packets) as decoder:
        for run in _runs(index, wanted):
            done = -1
            for number, frame in _decode_run(decoder, index, run):
                done = number
                yield number, frame
            if done < run[-1]:
                # Of the frames that several threads hold back at the end an error takes others with it.
                with Decoder(path, stream, packets, threads=1) as careful:
                    yield from _decode_run(careful, index, run[run > done])


def _runs(index: FrameIndex, wanted: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Parts of the frames wanted between which it is worth to decode nothing."""
    if not len(wanted):
        return []
    reached = np.maximum.accumulate(index.packet[wanted])
    far = index.start[wanted][1:] > reached[:-1] + SKIP_FROM
    # At the end of a recording a decoder gives out what it holds back only when told.
    other = np.diff(index.recording[wanted]) != 0
    return np.split(wanted, np.flatnonzero(far | other) + 1)


def _decode_run(decoder: Decoder, index: FrameIndex, run: NDArray[np.int64]) -> Iterator[NumberedFrame]:
    """Decode some frames in one go, from an earlier key frame where the first one does not come out otherwise."""
    keys = index.keys
    last = int(index.packet[run].max())
    begin = int(index.start[run].min())
    only = index.packet[run].tolist() if len(keys) == len(decoder.packets) else None
    tried = -1
    for back in KEYS_BACK:
        first = int(keys[max(0, int(np.searchsorted(keys, begin)) - back)]) if back else begin
        if first == tried:
            return
        tried = first
        frames = _in_order(decoder.decode(first, last, only), index, run)
        found = next(frames, None)
        if found is not None and (found[0] == run[0] or first <= keys[0] or back == KEYS_BACK[-1]):
            yield found
            yield from frames
            return


def _in_order(frames: Iterator[VideoFrame], index: FrameIndex, wanted: NDArray[np.int64]) -> Iterator[NumberedFrame]:
    """The frames that are wanted and whole, in the order of their numbers, as soon as it is clear which is next."""
    left = iter(wanted.tolist())
    due = next(left, None)
    chosen, waiting = set(wanted.tolist()), dict[int, VideoFrame]()
    for frame in chain(frames, [None]):
        if frame is not None:
            number = -1 if frame.pts is None else int(index.number[frame.pts])
            if number in chosen and due is not None and number >= due and not frame.is_corrupt:
                waiting[number] = frame
        while waiting and (due in waiting or len(waiting) > MOST_WAITING or frame is None):
            first = min(waiting)
            yield first, waiting.pop(first)
            while due is not None and due <= first:
                due = next(left, None)
