"""OpenMVS's scene (.mvs): cameras, points with the images that see them, and the images it names.

Its file is the archive of MVS/Interface.h there, of version 3, which all later ones read: little-endian; a list or a
text begins with its length, 64 bits; matrices row by row; pixels have their centres at integers; colours are BGR.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.export.images import copy_image, need_images, need_pinhole
from dd_sfm.io.atomic import write_parts
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress
from dd_sfm.sfm.point_cloud import point_normals
from dd_sfm.structures import Model

NAME = "scene.mvs"
VERSION = 3


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write scene.mvs and images/."""
    need_pinhole(scene, "OpenMVS")
    used = [scene.images[k] for k in scene.registered]
    need_images(scene, used)
    names = []
    for image in progress(used, total=len(used), label="images"):
        names.append(copy_image(image, folder).relative_to(folder).as_posix())
    write_parts(folder / NAME, _parts(scene, names))
    return []


def _parts(scene: Scene, names: list[str]) -> Iterator[bytes]:
    cameras = [scene.images[k].camera for k in scene.registered]
    lenses = list(dict.fromkeys(cameras))
    yield b"MVSI" + struct.pack("<II", VERSION, 0)
    yield struct.pack("<Q", 1) + _text("endoscope")
    yield struct.pack("<Q", len(lenses)) + b"".join(map(_lens, lenses))
    poses = np.stack([scene.model.cam_from_world[k] for k in scene.registered])
    turned = np.column_stack([poses[:, :, :3].reshape(-1, 9), camera_centres(poses)])
    yield struct.pack("<Q", len(poses)) + turned.astype("<f8").tobytes()
    yield struct.pack("<Q", len(names))
    for number, (name, camera) in enumerate(zip(names, cameras, strict=True)):
        yield _text(name) + struct.pack("<4I", 0, lenses.index(camera), number, number)
    yield from _points(scene.model, scene.registered)
    # No lines, with neither normals nor colours; the transform that was applied.
    yield struct.pack("<3Q", 0, 0, 0) + np.eye(4, dtype="<f8").tobytes()


def _points(model: Model, registered: list[int]) -> Iterator[bytes]:
    """Points, each with its images; then their normals and colours."""
    place = np.zeros(max(registered) + 1, np.uint32)
    place[registered] = np.arange(len(registered))
    views = np.zeros(len(model.frame), [("image", "<u4"), ("confidence", "<f4")])
    views["image"] = place[model.frame]
    count = np.bincount(model.point, minlength=len(model.xyz))
    # A point is 20 bytes, then 8 for each image; observations are sorted by point.
    starts = 20 * np.arange(len(count)) + 8 * (np.cumsum(count) - count)
    content = np.zeros(20 * len(count) + views.nbytes, np.uint8)
    head = np.zeros(len(count), [("xyz", "<f4", 3), ("views", "<u8")])
    head["xyz"], head["views"] = model.xyz, count
    places = starts[:, None] + np.arange(20)
    content[places] = head.view(np.uint8).reshape(len(count), 20)
    is_view = np.ones(len(content), bool)
    is_view[places] = False
    content[is_view] = views.view(np.uint8)
    yield struct.pack("<Q", len(count)) + content.tobytes()
    yield struct.pack("<Q", len(count)) + point_normals(model).astype("<f4").tobytes()
    yield struct.pack("<Q", len(count)) + model.rgb[:, ::-1].tobytes()


def _lens(camera: PinholeCamera) -> bytes:
    """A camera of the platform, in its own place."""
    size = struct.pack("<II", *camera.size)
    fixed = (camera.matrix, np.eye(3), np.zeros(3))
    return _text("") + size + b"".join(values.astype("<f8").tobytes() for values in fixed)


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content
