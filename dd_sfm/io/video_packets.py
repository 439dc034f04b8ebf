"""The packets of a video file: which stream is read, and what is known of every packet without decoding it."""

from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.shortage import raise_if_short

NO_TIME = -(2**63)
"""A timestamp that the file does not state."""
LEAST_REST = 0.05
"""Share of a transport stream after its last packet in which another stream is looked for."""
MAX_READ_ERRORS = 50
"""Errors in a row after which a file is read no further."""
PICTURES = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


@dataclass(frozen=True)
class Packets:
    """The packets of a stream in the order of the file, which is that of decoding.

    ``pts``, ``dts`` (P,) int64: when a packet is shown and decoded, in units of ``time_base`` seconds, NO_TIME where
    not stated; ``size`` (P,) int64: bytes; ``key`` (P,) bool: decoding can begin there; ``shown`` (P,) bool: the
    container does not ask for it to be decoded unshown.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    size: NDArray[np.int64]
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    time_base: float

    def __len__(self) -> int:
        return len(self.pts)


def open_container(path: Path, begin: int = 0) -> InputContainer:
    """Open a video file, and only a file, from one of its bytes on.

    Raises:
        InputError: If it is no file of a kind that can be read.
    """
    # Names such as "concat:a|b" would be taken for protocols.
    name = f"subfile,,start,{begin},end,0,,:{path}" if begin else f"file:{path}"
    try:
        return av.open(name, metadata_errors="ignore", options={"protocol_whitelist": "file,subfile"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise_if_short(str(path), error)
        raise InputError(f"{path}: {_why_unreadable(path)}; expected a video (mp4, avi, mov, mkv, ...)") from error


def _why_unreadable(path: Path) -> str:
    """What is wrong with a file that cannot be opened."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if start[4:8] == b"ftyp":
        return (
            "no frame can be decoded: the index of this mp4 or mov is missing, so the file was cut off or is not closed"
        )
    return "no frame can be decoded"


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that can be decoded, the largest picture first; cover pictures and thumbnails are none."""
    found = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & PICTURES]
    return sorted(found, key=lambda s: -s.codec_context.width * s.codec_context.height)


def iter_packets(path: Path, container: InputContainer, stream: VideoStream) -> Iterator["Packet[Any]"]:
    """The packets of a stream that hold something, in the order of the file; what cannot be read is passed over.

    Where a transport stream goes on with a stream of another number, as of a second recording, that is read too.
    """
    begin = yield from _packets(path, container, stream)
    context, size = stream.codec_context, path.stat().st_size
    while container.format.name == "mpegts" and 0 < begin < (1 - LEAST_REST) * size:
        try:
            rest = open_container(path, begin)
        except InputError:
            return
        with rest:
            streams = [s for s in video_streams(rest) if s.codec_context.name == context.name]
            step = (yield from _packets(path, rest, streams[0])) if streams else 0
        if not step:
            return
        begin += step


def _packets(path: Path, container: InputContainer, stream: VideoStream) -> Generator["Packet[Any]", None, int]:
    """The packets of a stream of a container; returns the place of the last one in the file."""
    errors, place = 0, 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                # An empty packet would end the decoding.
                if packet.size:
                    errors, place = 0, packet.pos or place
                    yield packet
            return place
        except IndexError:
            # PyAV ends so where other streams appeared within the file.
            return place
        except (av.FFmpegError, OSError) as error:
            raise_if_short(str(path), error)
            errors += 1
    return place


def read_packets(path: Path, container: InputContainer, stream: VideoStream) -> Packets:
    """Read through a file without decoding anything."""
    pts, dts, size, flags = array("q"), array("q"), array("q"), array("B")
    for packet in iter_packets(path, container, stream):
        pts.append(NO_TIME if packet.pts is None else packet.pts)
        dts.append(NO_TIME if packet.dts is None else packet.dts)
        size.append(packet.size)
        flags.append(packet.is_keyframe + 2 * packet.is_discard)
    marks = np.array(flags, np.uint8)
    stamps, decoded, sizes = (np.array(values, np.int64) for values in (pts, dts, size))
    return Packets(stamps, decoded, sizes, marks % 2 > 0, marks < 2, float(stream.time_base or 0) or 1 / 90000)
