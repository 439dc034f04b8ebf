"""COLMAP's binary model (cameras.bin, images.bin, points3D.bin) written and read as arrays.

No Python object per point: a million points with ten million observations pass through a few byte buffers. Rigs and
frames are left out: COLMAP makes one trivial rig per camera on reading, and older tools open the model too.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_bytes
from dd_sfm.ops.coordinates import from_colmap, to_colmap
from dd_sfm.structures import FrameSet, Model, PinholeCamera

PINHOLE, SIMPLE_PINHOLE = 1, 0
POINT_HEADER = np.dtype(
    [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
)  # packed: 51 bytes
TRACK_ELEMENT = np.dtype([("image", "<u4"), ("index", "<u4")])
POINT2D = np.dtype([("xy", "<f8", 2), ("point", "<u8")])
IMAGE_HEADER = struct.Struct("<I4d3dI")


def image_names(frames: FrameSet) -> list[str]:
    """File names of the frames, as COLMAP knows the images."""
    return [f.path.name for f in frames.frames]


def write_model(
    folder: Path, model: Model, frames: FrameSet, cameras: Mapping[int, PinholeCamera] | None = None
) -> None:
    """Write a model; image ids are frame positions + 1, point ids start at 1.

    Args:
        folder: Made when missing; its three model files are replaced.
        model: What to write.
        frames: Names of the images.
        cameras: Camera of every frame position with a pose; None when all have the model's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.lexsort((model.point, model.frame))
    index_in_image = np.zeros(len(order), np.int64)
    frame_sorted = model.frame[order]
    first = np.searchsorted(frame_sorted, frame_sorted, side="left")
    index_in_image[order] = np.arange(len(order)) - first
    distinct = list(dict.fromkeys(cameras.values() if cameras else [model.camera])) or [model.camera]
    ids = {position: distinct.index(camera) + 1 for position, camera in (cameras or {}).items()}
    write_bytes(folder / "cameras.bin", _camera_bytes(distinct))
    write_bytes(folder / "images.bin", _image_bytes(model, image_names(frames), order, ids))
    write_bytes(folder / "points3D.bin", _point_bytes(model, index_in_image))


def _camera_bytes(cameras: list[PinholeCamera]) -> bytes:
    parts = [struct.pack("<Q", len(cameras))]
    for k, camera in enumerate(cameras):
        cx, cy = to_colmap(np.array([camera.cx, camera.cy]))
        header = struct.pack("<IiQQ", k + 1, PINHOLE, camera.width, camera.height)
        parts += [header, struct.pack("<4d", camera.fx, camera.fy, cx, cy)]
    return b"".join(parts)


def _image_bytes(model: Model, names: list[str], order: NDArray[np.int64], camera_ids: Mapping[int, int]) -> bytes:
    positions = sorted(model.cam_from_world)
    starts = np.searchsorted(model.frame[order], np.array([*positions, positions[-1] + 1] if positions else [0]))
    parts = [struct.pack("<Q", len(positions))]
    for k, position in enumerate(positions):
        pose = model.cam_from_world[position]
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        rows = order[starts[k] : starts[k + 1]]
        points = np.empty(len(rows), POINT2D)
        points["xy"] = to_colmap(model.xy[rows])
        points["point"] = model.point[rows] + 1
        parts += [
            IMAGE_HEADER.pack(position + 1, w, x, y, z, *pose[:, 3], camera_ids.get(position, 1)),
            names[position].encode() + b"\0",
            struct.pack("<Q", len(rows)),
            points.tobytes(),
        ]
    return b"".join(parts)


def _point_bytes(model: Model, index_in_image: NDArray[np.int64]) -> bytes:
    count = len(model.xyz)
    lengths = np.bincount(model.point, minlength=count)
    header = np.empty(count, POINT_HEADER)
    header["id"], header["xyz"], header["rgb"] = np.arange(1, count + 1), model.xyz, model.rgb
    header["error"], header["length"] = model.error_px, lengths
    elements = np.empty(len(model.point), TRACK_ELEMENT)
    elements["image"], elements["index"] = model.frame + 1, index_in_image
    size, width = POINT_HEADER.itemsize, TRACK_ELEMENT.itemsize
    before = np.cumsum(lengths) - lengths
    offsets = np.arange(count) * size + before * width
    buffer = np.empty(count * size + len(elements) * width, np.uint8)
    buffer[offsets[:, None] + np.arange(size)] = header.view(np.uint8).reshape(count, size)
    element_offsets = (model.point + 1) * size + np.arange(len(elements)) * width
    buffer[element_offsets[:, None] + np.arange(width)] = elements.view(np.uint8).reshape(-1, width)
    return struct.pack("<Q", count) + buffer.tobytes()


def read_model(
    folder: Path, positions: Mapping[str, int] | None = None, *, camera: PinholeCamera | None = None
) -> Model:
    """Read a binary model with one pinhole camera.

    Args:
        folder: Holds cameras.bin, images.bin and points3D.bin.
        positions: Frame position of every image name; None numbers the images in the order of their names.
        camera: Taken instead of the file's, which then may hold any number of any kind.

    Raises:
        InputError: If a file is missing or cut short, or the camera is no pinhole camera.
    """
    try:
        camera = camera or _read_camera(folder)
        poses, image_position, names, points2d = _read_images(folder)
        ids, header, track = _read_points(folder)
    except (OSError, struct.error, ValueError, IndexError, MemoryError) as error:
        raise InputError(f"{folder}: not a complete binary COLMAP model ({error})") from error
    ranked = positions or {name: k for k, name in enumerate(sorted(names.values()))}
    position = {image: ranked[name] for image, name in names.items()}
    lookup = np.zeros(max(position, default=0) + 1, np.int64)
    for image, place in position.items():
        lookup[image] = place
    starts = np.zeros(len(lookup), np.int64)
    for image, start in image_position.items():
        starts[image] = start
    point = np.repeat(np.arange(len(ids)), header["length"].astype(np.int64))
    xy = from_colmap(points2d["xy"][starts[track["image"]] + track["index"]])
    frame = lookup[track["image"]]
    order = np.lexsort((frame, point))
    cam_from_world = {position[image]: pose for image, pose in poses.items()}
    return Model(
        camera,
        cam_from_world,
        header["xyz"].copy(),
        header["rgb"].copy(),
        header["error"].copy(),
        point[order],
        frame[order],
        xy[order],
    )


def read_poses(folder: Path) -> dict[str, NDArray[np.float64]]:
    """cam_from_world (3, 4) by image name; whatever the camera model.

    Raises:
        InputError: If images.bin is missing or cut short.
    """
    try:
        poses, _, names, _ = _read_images(folder)
    except (OSError, struct.error, ValueError, IndexError) as error:
        raise InputError(f"{folder}: not a complete binary COLMAP model ({error})") from error
    return {names[image]: pose for image, pose in poses.items()}


def _read_camera(folder: Path) -> PinholeCamera:
    data = (folder / "cameras.bin").read_bytes()
    _, _, kind, width, height = struct.unpack_from("<QIiQQ", data)
    if kind not in (PINHOLE, SIMPLE_PINHOLE):
        raise InputError(f"{folder / 'cameras.bin'}: camera model {kind}; expected PINHOLE or SIMPLE_PINHOLE")
    values = struct.unpack_from("<4d" if kind == PINHOLE else "<3d", data, 32)
    fx, fy, cx, cy = values if kind == PINHOLE else (values[0], *values)
    cx, cy = from_colmap(np.array([cx, cy]))
    return PinholeCamera(width, height, fx, fy, float(cx), float(cy))


def _read_images(
    folder: Path,
) -> tuple[dict[int, NDArray[np.float64]], dict[int, int], dict[int, str], NDArray[np.void]]:
    """Poses, first row of points2D, and names by image id; and all points2D one after the other."""
    data = (folder / "images.bin").read_bytes()
    poses, starts, names, parts = {}, {}, {}, []
    at, total = 8, 0
    for _ in range(struct.unpack_from("<Q", data)[0]):
        image, w, x, y, z, *shift, _camera = IMAGE_HEADER.unpack_from(data, at)
        at += IMAGE_HEADER.size
        end = data.index(b"\0", at)
        names[image] = data[at:end].decode()
        count = struct.unpack_from("<Q", data, end + 1)[0]
        at = end + 9
        parts.append(np.frombuffer(data, POINT2D, count, at))
        at += count * POINT2D.itemsize
        rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        poses[image] = np.column_stack([rotation, shift])
        starts[image] = total
        total += count
    return poses, starts, names, np.concatenate(parts) if parts else np.zeros(0, POINT2D)


def _read_points(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.void], NDArray[np.void]]:
    data = (folder / "points3D.bin").read_bytes()
    count = struct.unpack_from("<Q", data)[0]
    offsets = np.empty(count, np.int64)
    at = 8
    length = struct.Struct("<Q")
    for k in range(count):
        # Records vary in length, so each must be passed to find the next; only an integer is kept.
        offsets[k] = at
        at += POINT_HEADER.itemsize + TRACK_ELEMENT.itemsize * length.unpack_from(data, at + 43)[0]
    raw = np.frombuffer(data, np.uint8)
    header = raw[offsets[:, None] + np.arange(POINT_HEADER.itemsize)].copy().view(POINT_HEADER)[:, 0]
    is_header = np.zeros(at, bool)
    is_header[:8] = True
    is_header[(offsets[:, None] + np.arange(POINT_HEADER.itemsize)).ravel()] = True
    return header["id"].astype(np.int64), header, raw[:at][~is_header].view(TRACK_ELEMENT)
