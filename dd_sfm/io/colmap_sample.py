"""A part of a large COLMAP model in binary form: some of its points with all their observations, in little memory."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.io.colmap_model import (
    IMAGE_HEADER,
    POINT2D,
    POINT_HEADER,
    TRACK_ELEMENT,
    ImageRecords,
    PointRecords,
    check_points,
    complete,
    pose_of,
)
from dd_sfm.structures import IntArray

READ_AT_ONCE = 1 << 22
"""Bytes."""
COUNT = struct.Struct("<Q")
AT_LENGTH = 43
"""Where in the head of a point the length of its track is."""
MOST_NAME = 4096
"""Bytes of an image's name."""


@dataclass(frozen=True)
class Sample:
    """How much of a model to read: ``points`` at most, spread evenly by chance, the same ones on every call.

    ``observations``: roughly how many they may have together; 0 for points and poses alone.
    """

    points: int
    observations: int


def read_sample(folder: Path, sample: Sample) -> tuple[ImageRecords, PointRecords]:
    """Read images.bin and points3D.bin as if the model had only the points of a sample, and their observations.

    Raises:
        InputError: If a file is missing or cut short, or they do not fit together.
    """
    with complete(folder / "points3D.bin"):
        points = _points(folder / "points3D.bin", sample)
    with complete(folder / "images.bin"):
        return _images(folder / "images.bin", points)


def _spread(count: int, size: int, sample: Sample) -> IntArray:
    """The positions of the points to take, ascending: by chance one of each of as many equal parts.

    Not at equal steps, which with points in rows gives stripes.
    """
    most = sample.points
    if sample.observations:
        known = max(1, (size - COUNT.size - count * POINT_HEADER.itemsize) // TRACK_ELEMENT.itemsize)
        most = min(most, int(np.ceil(count * sample.observations / known)))
    if count <= most:
        return np.arange(count)
    return np.unique(((np.arange(most) + np.random.default_rng(0).random(most)) * (count / most)).astype(np.int64))


def _points(path: Path, sample: Sample) -> PointRecords:
    size = regular(path).stat().st_size
    headers, tracks = bytearray(), bytearray()
    with path.open("rb") as file:
        count = COUNT.unpack(file.read(COUNT.size))[0]
        if count * POINT_HEADER.itemsize > size:
            raise ValueError(f"{count} points in {size} bytes")
        chosen = _spread(count, size, sample)
        is_chosen = np.zeros(count, bool)
        is_chosen[chosen] = True
        for wanted, record in zip(is_chosen.tolist(), _records(file, count, size), strict=True):
            if wanted:
                headers += record[: POINT_HEADER.itemsize]
                tracks += record[POINT_HEADER.itemsize :] if sample.observations else b""
    header = np.frombuffer(headers, POINT_HEADER)
    check_points(header)
    if not sample.observations:
        header["length"] = 0
    return PointRecords(header, np.frombuffer(tracks, TRACK_ELEMENT))


def _records(file: BinaryIO, count: int, size: int) -> Iterator[memoryview]:
    """The bytes of each point."""
    data, at = memoryview(b""), 0
    for _ in range(count):
        end = at + POINT_HEADER.itemsize
        if end <= len(data):
            end += TRACK_ELEMENT.itemsize * COUNT.unpack_from(data, at + AT_LENGTH)[0]
        if end > len(data):
            data, at = memoryview(bytes(data[at:]) + file.read(READ_AT_ONCE)), 0
            length = COUNT.unpack_from(data, AT_LENGTH)[0]
            end = POINT_HEADER.itemsize + TRACK_ELEMENT.itemsize * length
            if end > size:
                raise ValueError("a point with more views than the file holds")
            if end > len(data):
                data = memoryview(bytes(data) + file.read(end - len(data)))
        if end > len(data):
            raise ValueError("a point with more views than the file holds")
        yield data[at:end]
        at = end


def _images(path: Path, points: PointRecords) -> tuple[ImageRecords, PointRecords]:
    """The images with the keypoints of some points alone, and these points with the places of those."""
    size = regular(path).stat().st_size
    names, poses, cameras, starts = {}, {}, {}, {}
    track = points.track.copy()
    order = np.argsort(track["image"], kind="stable")
    sorted_images, kept, total = track["image"][order], [np.zeros(0, POINT2D)], 0
    with path.open("rb") as file:
        for _ in range(COUNT.unpack(file.read(COUNT.size))[0]):
            image, w, x, y, z, *shift, camera = IMAGE_HEADER.unpack(file.read(IMAGE_HEADER.size))
            names[image], poses[image], cameras[image] = _name(file), pose_of(image, (x, y, z, w), shift), camera
            count = COUNT.unpack(file.read(COUNT.size))[0]
            if file.tell() + count * POINT2D.itemsize > size:
                raise ValueError(f"image {image} has {count} keypoints, more than the file holds")
            rows = order[slice(*np.searchsorted(sorted_images, [image, image + 1]))]
            starts[image], total = total, total + len(rows)
            kept.append(_keypoints(file, count, track["index"][rows]))
            track["index"][rows] = np.arange(len(rows))
    if len(set(names.values())) < len(names):
        raise ValueError("two images of one name")
    return ImageRecords(names, poses, cameras, starts, np.concatenate(kept)), PointRecords(points.header, track)


def _keypoints(file: BinaryIO, count: int, wanted: NDArray[np.uint32]) -> NDArray[np.void]:
    """Some of an image's ``count`` keypoints, which come next in a file."""
    if not len(wanted):
        file.seek(count * POINT2D.itemsize, 1)
        return np.zeros(0, POINT2D)
    # One that is not there raises IndexError.
    return np.frombuffer(file.read(count * POINT2D.itemsize), POINT2D)[wanted]


def _name(file: BinaryIO) -> str:
    """The name of an image, which a zero ends."""
    name = bytearray()
    while (letter := file.read(1)) != b"\0":
        if not letter or len(name) > MOST_NAME:
            raise ValueError("a name without an end")
        name += letter
    return name.decode()
