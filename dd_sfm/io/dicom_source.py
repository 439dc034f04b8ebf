"""DICOM as a source: a file of frames or with a video in it, or a folder of files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dd_sfm.errors import InputError
from dd_sfm.io.dicom import dicom_series, open_dicom_frames
from dd_sfm.io.dicom_header import DicomHeader, read_dicom_header
from dd_sfm.io.dicom_stream import extract_stream
from dd_sfm.io.source import SourceInfo
from dd_sfm.io.video_file import open_video
from dd_sfm.io.video_packets import NO_TIME
from dd_sfm.notes import Note

UNKNOWN_RATE = 25.0
"""Frames a second of a recording that states none."""


def open_dicom(path: Path) -> SourceInfo:
    """Look at a DICOM file.

    Raises:
        InputError: If pydicom is not installed, or its pictures cannot be decoded.
    """
    header = read_dicom_header(path)
    return _open_video(header) if header.is_video else _open_frames(path, (header,), [])


def open_dicom_folder(folder: Path, files: Sequence[Path]) -> SourceInfo:
    """Look at a folder of DICOM files, of which the largest series is read in the order of its instance numbers.

    Raises:
        InputError: If pydicom is not installed, or the pictures cannot be decoded.
    """
    headers, notes = dicom_series(files, folder)
    videos = [header for header in headers if header.is_video]
    if not videos:
        return _open_frames(folder, headers, notes)
    if len(headers) > 1:
        named = ", ".join(header.path.name for header in headers[:3])
        raise InputError(f"{folder}: {len(headers)} DICOM videos ({named}, ...); expected one. Name its file")
    info = _open_video(headers[0])
    return replace(info, notes=(*notes, *info.notes))


def _open_frames(path: Path, headers: tuple[DicomHeader, ...], notes: list[Note]) -> SourceInfo:
    frames, found = open_dicom_frames(headers)
    times = frames.times_s
    step = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
    is_folder = path.is_dir() and all(header.frames == 1 for header in headers)
    fps = round(1 / step, 4) if step else None if is_folder else UNKNOWN_RATE
    names = tuple(header.path.name for header in headers) if is_folder else ()
    width, height = headers[0].width, headers[0].height
    return SourceInfo(path, width, height, fps, len(frames), names, notes=(*notes, *found), dicom=frames)


def _open_video(header: DicomHeader) -> SourceInfo:
    stream = extract_stream(header.path)
    try:
        video = replace(open_video(stream.path), held=stream)
    except InputError:
        raise InputError(
            f"{header.path}: a DICOM video of which no frame can be decoded; expected MPEG-2, MPEG-4 or HEVC"
        ) from None
    if (video.packets.pts == NO_TIME).all() and header.times_s and header.times_s[-1] > 0:
        rate = (len(header.times_s) - 1) / header.times_s[-1]
        video = replace(video, rate=rate, index=replace(video.index, time_s=video.index.time_s * (video.rate / rate)))
    width, height = video.display.shown
    return SourceInfo(header.path, width, height, video.rate, len(video.index), notes=video.notes, video=video)
