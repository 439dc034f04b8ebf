"""A video file as it was found on opening: its stream, its frames, how they are shown, what the user should know."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dd_sfm.errors import InputError
from dd_sfm.io.video_decoder import Decoder, iter_decoded
from dd_sfm.io.video_index import FrameIndex, index_by_output, index_by_time
from dd_sfm.io.video_packets import Packets, open_container, read_packets, video_streams
from dd_sfm.io.video_picture import Display, FieldCounts, FieldOrder, count_fields, field_shift, turn_of
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.spread import spread_positions

FIRST_PACKETS = 8
"""Packets from the beginning that are decoded to see what the file holds."""
PLACES = 5
"""Places over the video at which interlacing is looked for, each on so many frames."""
FRAMES_A_PLACE = 3
ENOUGH_FRAMES = 3
"""Frames that must move as interlaced ones for a video to be taken as such."""
COMBED_SHARE = 1 / 500
"""Of frames that do not say that they are interlaced, share of their height by which fields are apart at least: where
it is less, making frames of them costs more detail than combing does."""
ASPECTS = Fraction(1, 4), Fraction(4)
"""Pixel aspects that are believed."""
RESTARTING = ("mpegts", "mpeg")
"""Formats in which recordings are joined by joining their files."""
STEADY_SHARE = 0.9
"""Share of steps between frames that are alike at a steady rate."""
COUNTED = ("mov", "avi")
"""Formats whose header says how many frames there are."""
RECENT = 256
"""Videos of which it is known what was found: a run opens each of its sources several times. What is known takes less
than 100 bytes a frame, 10 MB for an hour, while finding it means to read the whole file."""


@dataclass(frozen=True)
class VideoFile:
    """A video file.

    ``stream``: the number of the stream that is read; ``rate``: frames a second, on average; ``held``: what has to be
    there for the file to be.
    """

    path: Path
    stream: int
    packets: Packets
    index: FrameIndex
    display: Display
    rate: float
    notes: tuple[Note, ...] = ()
    held: object = None


def open_video(path: Path) -> VideoFile:
    """Read through a video file; of one that has not changed since it was opened last what was found is known.

    Raises:
        InputError: If it is no video, or no frame of it can be decoded.
    """
    stat = path.stat()
    return _open_video(path.absolute(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=RECENT)
def _open_video(path: Path, _size: int, _modified: int) -> VideoFile:
    with open_container(path) as container:
        stream, packets = _main_stream(path, container)
        restarts = container.format.name in RESTARTING
        index = index_by_time(packets, restarts=restarts)
        first = _first_frames(path, stream.index, packets)
        if index is None or not _agrees(index, packets, first):
            index = index_by_output(packets, _output_order(path, stream.index, packets), restarts=restarts)
        if not len(index):
            raise InputError(f"{path}: no frame can be decoded; expected a video (mp4, avi, mov, mkv, ...)")
        video = VideoFile(path, stream.index, packets, index, Display(0, 0), _rate(index, stream))
        notes = list(_notes(container, stream, video))
        aspect = stream.sample_aspect_ratio or Fraction(1)
    video = replace(video, index=_with_times(index, video.rate), notes=tuple(notes))
    return _examined(video, first, aspect)


def _main_stream(path: Path, container: InputContainer) -> tuple[VideoStream, Packets]:
    """The largest stream of pictures that move, and its packets."""
    streams = video_streams(container)
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
        raise InputError(f"{path}: no video in it that can be decoded (streams: {kinds}); expected a video")
    found = []
    for stream in streams:
        packets = read_packets(path, container, stream)
        if len(packets) > 2:
            return stream, packets
        found.append((stream, packets))
        try:
            container.seek(0)
        except (av.FFmpegError, OSError):
            # A damaged file that is not read twice: what other streams it has is not known.
            break
    return max(found, key=lambda item: len(item[1]))


def _first_frames(path: Path, stream: int, packets: Packets) -> list[VideoFrame]:
    """The frames of the first packets of which some can be decoded, as the decoder gives them out."""
    with Decoder(path, stream, packets) as decoder:
        for first in range(0, len(packets), FIRST_PACKETS):
            frames = list(decoder.decode(first, first + FIRST_PACKETS - 1))
            if frames:
                return frames
    return []


def _agrees(index: FrameIndex, packets: Packets, frames: list[VideoFrame]) -> bool:
    """Whether a decoder gives out the frames in the order of their numbers, and one for each packet."""
    numbers = [int(index.number[frame.pts or 0]) for frame in frames]
    ordered = all(a < b for a, b in pairwise(numbers))
    return ordered and not _in_fields(frames, min(len(packets), FIRST_PACKETS))


def _in_fields(frames: list[VideoFrame], packets: int) -> bool:
    """Whether the two fields of a frame are packets of their own."""
    return bool(frames) and any(frame.interlaced_frame for frame in frames) and len(frames) < 0.6 * packets


def _output_order(path: Path, stream: int, packets: Packets) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The packets of frames in the order of display, found by decoding all of them."""
    with Decoder(path, stream, packets) as decoder:
        found, fields = dict[int, None](), False
        for frame in decoder.decode(0, len(packets) - 1):
            found[int(frame.pts or 0)] = None
            fields |= frame.interlaced_frame
    order = list(found)
    # A frame that did not come out has a number all the same, unless its packet is the second half of another one.
    silent = sorted(set(np.flatnonzero(packets.shown).tolist()) - set(order))
    if fields and len(order) < 0.6 * len(packets):
        silent = []
    merged = []
    for packet in order:
        while silent and silent[0] < packet:
            merged.append(silent.pop(0))
        merged.append(packet)
    return np.array(merged + silent, np.int64)


def _rate(index: FrameIndex, stream: VideoStream) -> float:
    """Frames a second: by the times of the frames, or else as the file says."""
    span = float(index.time_s[-1] - index.time_s[0])
    if span > 0:
        return round((len(index) - 1) / span, 4)
    return float(stream.average_rate or stream.guessed_rate or 25)


def _with_times(index: FrameIndex, rate: float) -> FrameIndex:
    """Where the file states no times, frames follow on each other at its rate."""
    if not np.isnan(index.time_s).any():
        return index
    return replace(index, time_s=np.arange(len(index)) / rate)


def _notes(container: InputContainer, stream: VideoStream, video: VideoFile) -> Iterator[Note]:
    others = [s for s in video_streams(container) if s.index != stream.index]
    if others:
        sizes = ", ".join(f"{s.codec_context.width}x{s.codec_context.height}" for s in others)
        width, height = stream.codec_context.width, stream.codec_context.height
        text = f"the file holds {len(others) + 1} videos: that of {width}x{height} pixels is read, not {sizes}"
        yield Note(NoteCode.OTHER_VIDEO_STREAMS, text)
    recordings = int(video.index.recording[-1]) + 1
    if recordings > 1:
        text = (
            f"{recordings} recordings follow on each other in the file, where its timestamps start anew: "
            "frames are numbered through, and times go on"
        )
        yield Note(NoteCode.RECORDINGS_JOINED, text)
    missing = _missing(video.index) if container.format.name in RESTARTING else 0
    if missing:
        count = "1 frame is" if missing == 1 else f"{missing} frames are"
        text = f"by the times of the others {count} missing between them: damaged in the file, or lost when recorded"
        yield Note(NoteCode.FRAMES_MISSING, text)
    stated, found = stream.frames, len(video.packets)
    if stated > found and container.format.name.startswith(COUNTED):
        text = f"the video ends early: {found} of the {stated} frames that its header promises are in the file"
        yield Note(NoteCode.VIDEO_ENDS_EARLY, text)


def _missing(index: FrameIndex) -> int:
    """How many frames are missing between others, where their rate is steady but for gaps."""
    steps = np.diff(index.time_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    if not usual > 0 or np.mean(np.abs(steps - usual) < 0.1 * usual) < STEADY_SHARE:
        return 0
    return int(np.round(steps[steps > 1.5 * usual] / usual - 1).sum())


def _examined(video: VideoFile, first: list[VideoFrame], aspect: Fraction) -> VideoFile:
    """The video with the display of its frames, as some of them over its length show it."""
    index = video.index
    keys = index.number[index.keys]
    keys = keys[keys > len(first)]
    groups = [first, *_groups(video, keys[spread_positions(len(keys), PLACES)])]
    counts = sum((count_fields(group) for group in groups), FieldCounts())
    if counts.upper + counts.lower + counts.whole < ENOUGH_FRAMES and len(index) > len(first):
        # Nothing moves there: one has to look between key frames.
        groups += _groups(video, np.linspace(len(first), len(index) - 1, PLACES + 2).astype(int)[1:-1])
        counts = sum((count_fields(group) for group in groups), FieldCounts())
    frames = [frame for group in groups for frame in group]
    if not frames:
        raise InputError(f"{video.path}: no frame can be decoded; expected a video (mp4, avi, mov, mkv, ...)")
    (width, height), _ = Counter((f.width, f.height) for f in frames).most_common(1)[0]
    display, notes = Display(width, height, turn=turn_of(frames[0])), list(video.notes)
    display, note = _with_fields(display, frames, counts)
    notes += note
    display, note = _with_aspect(replace(display, turn=turn_of(frames[0])), aspect)
    notes += note
    return replace(video, display=display, notes=tuple(notes))


def _groups(video: VideoFile, begins: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[list[VideoFrame]]:
    """A few frames that follow on each other from each of some places."""
    wanted = np.unique(np.concatenate([begins + k for k in range(FRAMES_A_PLACE)]))
    groups: list[list[VideoFrame]] = []
    last = -2
    for number, frame in iter_decoded(video.path, video.stream, video.packets, video.index, wanted):
        if number != last + 1 or (frame.width, frame.height) != (groups[-1][-1].width, groups[-1][-1].height):
            groups.append([])
        groups[-1].append(frame)
        last = number
    return groups


def _with_fields(display: Display, frames: list[VideoFrame], counts: FieldCounts) -> tuple[Display, list[Note]]:
    """Whether the video is interlaced: as measured, and where nothing moves as its frames say."""
    flagged = sum(frame.interlaced_frame for frame in frames) / len(frames)
    most, least = max(counts.upper, counts.lower), min(counts.upper, counts.lower)
    measured = most >= ENOUGH_FRAMES and 3 * least <= most and 3 * most >= counts.whole
    if not measured and flagged < 0.5:
        return display, []
    if not measured and counts.whole >= ENOUGH_FRAMES:
        text = "the video says that it is interlaced, but both fields of its frames are of one moment: left as they are"
        return display, [Note(NoteCode.INTERLACED, text)]
    fields: FieldOrder = ("tff" if counts.upper >= counts.lower else "bff") if measured else "auto"
    lines = {"tff": "upper lines first", "bff": "lower lines first", "auto": "as each frame says"}[fields]
    made = "each frame was made of both of its fields by ffmpeg's bwdif"
    if flagged >= 0.5:
        text = f"the video is interlaced ({lines}), as it says: {made}"
        return replace(display, fields=fields, flagged_only=True), [Note(NoteCode.INTERLACED, text)]
    shift = field_shift(frames)
    text = (
        f"the video is interlaced ({lines}), though it does not say so: frames that move are combed, by {shift:.1f} px"
    )
    if shift < COMBED_SHARE * display.height:
        return display, [Note(NoteCode.INTERLACED, f"{text}, so little that they are used as they are")]
    return replace(display, fields=fields), [Note(NoteCode.INTERLACED, f"{text}; {made}")]


def _with_aspect(display: Display, aspect: Fraction) -> tuple[Display, list[Note]]:
    """The display with pixels of an aspect, and what the user should know of it and of the turn."""
    notes = []
    if not ASPECTS[0] <= aspect <= ASPECTS[1]:
        text = f"the video says that its pixels are {aspect.numerator}:{aspect.denominator}; taken as square"
        return display, [Note(NoteCode.PIXELS_NOT_SQUARE, text)]
    stored, display = display, replace(display, pixel_aspect=aspect)
    if display.square != stored.square:
        text = (
            f"the video's pixels are {aspect.numerator}:{aspect.denominator}, not square: frames of "
            f"{display.width}x{display.height} are made {display.square[0]}x{display.square[1]}. A calibration or mask "
            "may be of either size"
        )
        notes.append(Note(NoteCode.PIXELS_NOT_SQUARE, text))
    if display.turn != (1, 0, 0, 1):
        width, height = display.shown
        text = f"the video is shown turned or mirrored, as its header says: frames are {width}x{height}"
        notes.append(Note(NoteCode.VIDEO_TURNED, text))
    return display, notes
