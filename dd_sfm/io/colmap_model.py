"""COLMAP's binary model (cameras.bin, images.bin, points3D.bin) written and read as arrays.

No Python object per point: a million points with ten million observations pass through a few byte buffers. Rigs and
frames are left out: COLMAP makes one trivial rig per camera on reading, and older tools open the model too.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera
from dd_sfm.documents import regular
from dd_sfm.errors import InputError, one_line
from dd_sfm.io.atomic import write_bytes, write_parts
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.lens import Lens
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.ops.coordinates import from_colmap, to_colmap
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.structures import FrameSet, Model

PINHOLE, SIMPLE_PINHOLE = 1, 0
POINT_HEADER = np.dtype(
    [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
)  # packed: 51 bytes
TRACK_ELEMENT = np.dtype([("image", "<u4"), ("index", "<u4")])
POINT2D = np.dtype([("xy", "<f8", 2), ("point", "<u8")])
CAMERA_HEADER, IMAGE_HEADER = struct.Struct("<IiQQ"), struct.Struct("<I4d3dI")
MOST_SIDE = 1_000_000
"""Pixels along a side of a picture."""
FARTHEST = 1e30
"""Coordinates beyond this overflow when distances are computed."""
LEAST_NORM = 1e-3
"""Of a quaternion, which has the length 1 but for rounding."""
NO_POINT = 2**64 - 1
"""Of a keypoint that belongs to no point."""


@dataclass(frozen=True)
class ImageRecords:
    """images.bin: of every image, by COLMAP's id, ``names``, ``cam_from_world`` (3, 4), the id of its camera in
    ``camera_ids``, and in ``starts`` its first row in ``points2d`` (N,) of :data:`POINT2D`.
    """  # fmt: skip

    names: dict[int, str]
    cam_from_world: dict[int, NDArray[np.float64]]
    camera_ids: dict[int, int]
    starts: dict[int, int]
    points2d: NDArray[np.void]


@dataclass(frozen=True)
class PointRecords:
    """points3D.bin: ``header`` (P,) of :data:`POINT_HEADER`; ``track`` (O,) of :data:`TRACK_ELEMENT`, by point."""

    header: NDArray[np.void]
    track: NDArray[np.void]


def image_names(frames: FrameSet) -> list[str]:
    """File names of the frames, as COLMAP knows the images."""
    return [f.path.name for f in frames.frames]


def write_model(
    folder: Path,
    model: Model,
    frames: FrameSet,
    cameras: Mapping[int, PinholeCamera] | None = None,
    lens: Lens | None = None,
) -> None:
    """Write a model; image ids are frame positions + 1, point ids start at 1.

    Args:
        folder: Made when missing; its three model files are replaced.
        model: What to write.
        frames: Names of the images.
        cameras: Camera of every frame position with a pose; None when all have the model's.
        lens: What the model's pixels were seen by, all of them; None for the cameras, which have no distortion.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Observations are sorted by point already.
    of_frame = FrameRows(model.frame)
    index_in_image = np.zeros(len(model.frame), np.uint32)
    for frame in of_frame.frames.tolist():
        rows = of_frame.of(frame)
        index_in_image[rows] = np.arange(len(rows))
    distinct = list(dict.fromkeys(cameras.values() if cameras else [model.camera])) or [model.camera]
    ids = {position: distinct.index(camera) + 1 for position, camera in (cameras or {}).items()}
    write_bytes(folder / "cameras.bin", _camera_bytes([lens] if lens else [Lens.of(camera) for camera in distinct]))
    write_parts(folder / "images.bin", _image_parts(model, image_names(frames), of_frame, ids))
    write_parts(folder / "points3D.bin", _point_parts(model, index_in_image))


def _camera_bytes(lenses: list[Lens]) -> bytes:
    parts = [struct.pack("<Q", len(lenses))]
    for k, lens in enumerate(lenses):
        parts += [
            CAMERA_HEADER.pack(k + 1, pycolmap.CameraModelId.__members__[lens.model].value, lens.width, lens.height),
            struct.pack(f"<{len(lens.params)}d", *lens.params),
        ]
    return b"".join(parts)


def _image_parts(model: Model, names: list[str], of_frame: FrameRows, camera_ids: Mapping[int, int]) -> Iterator[bytes]:
    positions = sorted(model.cam_from_world)
    yield struct.pack("<Q", len(positions))
    for position in positions:
        pose = model.cam_from_world[position]
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        rows = of_frame.of(position)
        points = np.empty(len(rows), POINT2D)
        points["xy"] = to_colmap(model.xy[rows].astype(np.float64))
        points["point"] = model.point[rows] + 1
        yield IMAGE_HEADER.pack(position + 1, w, x, y, z, *pose[:, 3], camera_ids.get(position, 1))
        yield names[position].encode() + b"\0" + struct.pack("<Q", len(rows))
        yield points.tobytes()


def _point_parts(model: Model, index_in_image: NDArray[np.uint32]) -> Iterator[bytes]:
    yield struct.pack("<Q", len(model.xyz))
    first = row = 0
    for block in point_blocks(model):
        count, rows = len(block.xyz), slice(row, row + len(block.point))
        lengths = np.bincount(block.point, minlength=count)
        header = np.empty(count, POINT_HEADER)
        header["id"], header["xyz"], header["rgb"] = np.arange(first + 1, first + count + 1), block.xyz, block.rgb
        header["error"], header["length"] = block.error_px, lengths
        elements = np.empty(len(block.point), TRACK_ELEMENT)
        elements["image"], elements["index"] = block.frame + 1, index_in_image[rows]
        # Headers and elements take turns, each in its own order.
        turns = np.stack([np.full(count, POINT_HEADER.itemsize), lengths * TRACK_ELEMENT.itemsize], 1)
        is_header = np.repeat(np.tile(np.array([True, False]), count), turns.ravel())
        content = np.empty(len(is_header), np.uint8)
        content[is_header] = header.view(np.uint8)
        content[~is_header] = elements.view(np.uint8)
        yield content.tobytes()
        first, row = first + count, rows.stop


def read_model(folder: Path, positions: Mapping[str, int] | None = None) -> Model:
    """Read a binary model with one pinhole camera.

    Args:
        folder: Holds cameras.bin, images.bin and points3D.bin.
        positions: Frame position of every image name; None numbers the images in the order of their names.

    Raises:
        InputError: If a file is missing or cut short, the files are not of one model, or the camera is no pinhole
            camera.
    """
    try:
        camera = _read_camera(folder)
    except (OSError, struct.error, ValueError) as error:
        raise _incomplete(folder / "cameras.bin", error) from error
    return to_model(folder, camera, read_images(folder), read_points(folder), positions)


def to_model(
    folder: Path,
    camera: PinholeCamera,
    images: ImageRecords,
    points: PointRecords,
    positions: Mapping[str, int] | None = None,
) -> Model:
    """The model that the files of a folder hold, with a camera.

    Raises:
        InputError: If images and points do not fit together, or ``positions`` lacks an image.
    """
    track, point = points.track, np.repeat(np.arange(len(points.header)), points.header["length"].astype(np.int64))
    ids = np.array(sorted(images.names), np.int64)
    image = np.searchsorted(ids, track["image"]).clip(0, max(len(ids) - 1, 0))
    row = (np.array([images.starts[i] for i in ids.tolist()], np.int64)[image] if len(ids) else 0) + track["index"]
    owner = images.points2d["point"]
    observed = int(np.count_nonzero(owner != NO_POINT))
    is_known = observed == len(track) and bool((row < len(owner)).all())
    if not is_known or (owner[row] != points.header["id"][point]).any():
        raise InputError(
            f"{folder}: images and points do not fit together ({observed} observations in the images, {len(track)} in "
            "the points); expected a complete model. Export it again"
        )
    ranked = positions or {name: k for k, name in enumerate(sorted(images.names.values()))}
    unknown = next((name for name in images.names.values() if name not in ranked), None)
    if unknown is not None:
        raise InputError(
            f"{folder}: has the image {one_line(unknown)}, which is none of the frames; expected a model of these"
        )
    numbers = np.array([ranked[images.names[i]] for i in ids.tolist()], np.int64)
    frame, place = numbers[image], np.argsort(np.argsort(numbers, kind="stable"), kind="stable")[image]
    # A stable sort of what is nearly sorted is fast. By places, as numbers may be times in nanoseconds.
    order = np.argsort(point * len(numbers) + place, kind="stable")
    return Model(
        camera,
        {ranked[images.names[i]]: pose for i, pose in images.cam_from_world.items()},
        points.header["xyz"].copy(),
        points.header["rgb"].copy(),
        points.header["error"].copy(),
        point[order],
        frame[order],
        from_colmap(images.points2d["xy"][row[order]]),
    )


def read_poses(folder: Path) -> dict[str, NDArray[np.float64]]:
    """cam_from_world (3, 4) by image name; whatever the camera model.

    Raises:
        InputError: If images.bin is missing or cut short.
    """
    images = read_images(folder)
    return {images.names[i]: pose for i, pose in images.cam_from_world.items()}


def _incomplete(file: Path, error: Exception) -> InputError:
    why = "not found" if isinstance(error, FileNotFoundError) else "cut short or damaged"
    return InputError(f"{file}: {why}; expected that of a complete binary COLMAP model. Export it again")


@contextmanager
def complete(file: Path) -> Iterator[None]:
    """Turn what goes wrong while a file of a model is read into one line for the user.

    Raises:
        InputError: If it is missing or damaged.
        ShortageError: If there is not the memory for it.
    """
    try:
        yield
    except (OSError, struct.error, ValueError, IndexError, MemoryError) as error:
        raise_if_short(str(file.parent), error)
        raise _incomplete(file, error) from error


def pose_of(image: int, quaternion: Sequence[float], shift: Sequence[float]) -> NDArray[np.float64]:
    """cam_from_world (3, 4) of an image; the quaternion is x, y, z, w.

    Raises:
        ValueError: If it is none.
    """
    is_near = all(abs(value) < FARTHEST for value in shift)
    if not (is_near and LEAST_NORM < math.hypot(*quaternion) < 1 / LEAST_NORM):
        raise ValueError(f"image {image} has a pose that is none")
    return np.column_stack([Rotation.from_quat(quaternion).as_matrix(), shift])


def check_points(header: NDArray[np.void]) -> None:
    """See that points are somewhere.

    Raises:
        ValueError: If one is not.
    """
    if not (np.abs(header["xyz"]) < FARTHEST).all():
        raise ValueError("a point that is infinitely far")


def check_size(width: int, height: int) -> None:
    """See that pictures can be of a size.

    Raises:
        ValueError: If they cannot.
    """
    if not (0 < width < MOST_SIDE and 0 < height < MOST_SIDE):
        raise ValueError(f"pictures of {width}x{height} pixels")


def _read_camera(folder: Path) -> PinholeCamera:
    data = regular(folder / "cameras.bin").read_bytes()
    _, kind, width, height = CAMERA_HEADER.unpack_from(data, 8)
    check_size(width, height)
    if kind not in (PINHOLE, SIMPLE_PINHOLE):
        raise InputError(f"{folder / 'cameras.bin'}: camera model {kind}; expected PINHOLE or SIMPLE_PINHOLE")
    values = struct.unpack_from("<4d" if kind == PINHOLE else "<3d", data, 32)
    fx, fy, cx, cy = values if kind == PINHOLE else (values[0], *values)
    if not (all(map(math.isfinite, values)) and min(fx, fy) > 0):
        raise ValueError(f"a camera with the parameters {values}")
    cx, cy = from_colmap(np.array([cx, cy]))
    return PinholeCamera(width, height, fx, fy, float(cx), float(cy))


def read_images(folder: Path) -> ImageRecords:
    """Read images.bin.

    Raises:
        InputError: If it is missing or cut short.
    """
    with complete(folder / "images.bin"):
        return _parse_images(regular(folder / "images.bin").read_bytes())


def _parse_images(data: bytes) -> ImageRecords:
    names, poses, cameras, starts = {}, {}, {}, {}
    parts = [np.zeros(0, POINT2D)]
    at, total = 8, 0
    for _ in range(struct.unpack_from("<Q", data)[0]):
        image, w, x, y, z, *shift, camera_id = IMAGE_HEADER.unpack_from(data, at)
        end = data.index(b"\0", at + IMAGE_HEADER.size)
        names[image] = data[at + IMAGE_HEADER.size : end].decode()
        count = struct.unpack_from("<Q", data, end + 1)[0]
        at = end + 9
        if at + count * POINT2D.itemsize > len(data):
            raise ValueError(f"image {image} has {count} keypoints, more than the file holds")
        parts.append(np.frombuffer(data, POINT2D, count, at))
        at += count * POINT2D.itemsize
        poses[image] = pose_of(image, (x, y, z, w), shift)
        cameras[image], starts[image] = camera_id, total
        total += count
    if len(set(names.values())) < len(names):
        raise ValueError("two images of one name")
    return ImageRecords(names, poses, cameras, starts, np.concatenate(parts))


def read_points(folder: Path) -> PointRecords:
    """Read points3D.bin.

    Raises:
        InputError: If it is missing or cut short.
    """
    with complete(folder / "points3D.bin"):
        return _parse_points(regular(folder / "points3D.bin").read_bytes())


def _parse_points(data: bytes) -> PointRecords:
    count = struct.unpack_from("<Q", data)[0]
    if count * POINT_HEADER.itemsize > len(data):
        raise ValueError(f"{count} points in {len(data)} bytes")
    offsets = np.empty(count, np.int64)
    at, length = 8, struct.Struct("<Q")
    for k in range(count):
        # Records vary in length, so each must be passed to find the next; only an integer is kept.
        offsets[k] = at
        at += POINT_HEADER.itemsize + TRACK_ELEMENT.itemsize * length.unpack_from(data, at + 43)[0]
        if at > len(data):
            raise ValueError("a point with more views than the file holds")
    raw = np.frombuffer(data, np.uint8)
    place = offsets[:, None] + np.arange(POINT_HEADER.itemsize)
    header = raw[place].view(POINT_HEADER)[:, 0]
    check_points(header)
    is_track = np.ones(at, bool)
    is_track[:8] = False
    is_track[place.ravel()] = False
    return PointRecords(header, raw[:at][is_track].view(TRACK_ELEMENT))
