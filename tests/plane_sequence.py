"""What a camera sees that moves over a textured plane: as a run folder, a COLMAP model, a JHU sequence, a video."""

import json
from pathlib import Path

import cv2
import numpy as np
from conftest import texture, write_video
from plane import CAMERA, DEPTH_MM
from scene import project
from scipy.spatial.transform import Rotation

from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.jhu import write_sequence
from dd_sfm.structures import Frame, FrameSet, Model

MASK = np.zeros((120, 160), bool)
MASK[4:-4, 4:-4] = True


def poses(count):
    found = {}
    for k in range(count):
        rotation = Rotation.from_rotvec([0, 0, 0.02 * k]).as_matrix()
        centre = np.array([0.4 * k, 1.5 * np.sin(k / 5), 0.0])
        found[k] = np.column_stack([rotation, -rotation @ centre])
    return found


def images(count, seed=0):
    """Frames (120, 160, 3) uint8 RGB of a texture of 10 pixels a millimetre."""
    picture = texture(600, 900, seed)
    x, y = np.meshgrid(np.arange(160.0), np.arange(120.0))
    for pose in poses(count).values():
        local = np.stack([(x - 79.5) / 100, (y - 59.5) / 100, np.ones_like(x)], -1) * DEPTH_MM - pose[:, 3]
        world = local @ pose[:, :3]
        places = ((world[..., :2] + [22, 22]) * 10).astype(np.float32)
        yield cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def model(count, spacing_mm=1.5):
    x, y = np.meshgrid(np.arange(-20, 32, spacing_mm), np.arange(-14, 17, spacing_mm))
    xyz = np.stack([x.ravel(), y.ravel(), np.full(x.size, DEPTH_MM)], 1)
    point, frame, xy = project(xyz, poses(count), CAMERA)
    kept, point = np.unique(point, return_inverse=True)
    xyz = xyz[kept]
    return Model(CAMERA, poses(count), xyz, np.zeros((len(xyz), 3), np.uint8), np.full(len(xyz), 0.5), point, frame, xy)


def frame_set(folder, count):
    return FrameSet(
        tuple(
            Frame(k, folder / "frames" / f"{k:08d}.png", folder / "masks" / f"{k:08d}.png.png", k / 25)
            for k in range(count)
        ),
        CAMERA,
        120,
    )


def write_run(folder: Path, count=12, seed=0, images_in="frames") -> Path:
    """A run folder; with another ``images_in`` a bare COLMAP model with images."""
    (folder / images_in).mkdir(parents=True)
    for k, image in enumerate(images(count, seed)):
        write_image(folder / images_in / f"{k:08d}.png", image)
    if images_in == "frames":
        write_mask(folder / "field_of_view.png", MASK)
        records = [{"index": k, "time_s": k / 25, "kept": True} for k in range(count)]
        (folder / "frames.json").write_text(json.dumps({"frames": records}))
    write_model(folder / "sparse" / "0", model(count), frame_set(folder, count))
    return folder


def write_jhu(folder: Path, count=12, seed=0) -> Path:
    folder.mkdir(parents=True)
    for k, image in enumerate(images(count, seed)):
        write_image(folder / f"{k:08d}.jpg", image)
    built = model(count)
    cameras = dict.fromkeys(range(count), CAMERA)
    write_sequence(folder, range(count), built.cam_from_world, cameras, built.xyz, (built.point, built.frame), MASK)
    return folder


def write_clip(path: Path, count=12, seed=0) -> Path:
    return write_video(path, list(images(count, seed)))
