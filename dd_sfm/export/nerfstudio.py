"""nerfstudio's data format: transforms.json, images, masks and a cloud to start from.

What its documentation ("Data conventions") and its loader say, and what is written here:

- ``transform_matrix`` is world_from_cam (4, 4) with OpenGL camera axes: x right, y up, z backwards. COLMAP's cameras
  have y down and z forwards, so the second and third columns change their sign.
- ``applied_transform`` (3, 4) takes the original world to that of the matrices and of the cloud. Here it is the
  identity: the world is the model's, so that results come back in the model's coordinates.
- Pixels: the centre of the first one is at (0.5, 0.5), as in COLMAP.
- ``camera_model`` OPENCV with no distortion is a pinhole camera.
- ``depth_file_path``, of all frames or none, is the depth along the axis; its loader takes a thousandth of what a file
  holds (``depth_unit_scale_factor``) for the unit of the poses.
- Masks have one channel, are black where a pixel is to be ignored, and all frames have one or none has.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, inverse_pose
from dd_sfm.errors import ConfigError
from dd_sfm.export.drawn_depth import DepthOf, DrawnFrame, coverage_text, depth_frames, draw_each
from dd_sfm.export.images import copy_image, need_images, need_pinhole, place_below
from dd_sfm.io.atomic import write_json
from dd_sfm.io.clouds import write_points
from dd_sfm.io.images import read_mask, write_mask
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.scene import Scene
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.progress import Progress
from dd_sfm.structures import FloatArray

CLOUD = "sparse_pc.ply"
PER_UNIT = 1000.0
"""What a depth file holds, in the unit of the poses, by nerfstudio's default ``depth_unit_scale_factor`` of 0.001."""
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class TransformsFrame:
    """A frame of transforms.json: paths relative to its folder, and the pose cam_from_world (3, 4)."""

    file_path: str
    mask_path: str | None
    camera: PinholeCamera
    cam_from_world: FloatArray
    depth_file_path: str | None = None


def write(scene: Scene, folder: Path, progress: Progress, *, depth_of: DepthOf | None = None) -> list[str]:
    """Write transforms.json, images/, masks/ where every image has one, the cloud to start from, and depths/ if asked.

    Raises:
        ConfigError: If depth is asked for of some frames only, which the loader refuses.
    """
    need_pinhole(scene, "nerfstudio's pinhole images")
    if depth_of == "references":
        raise ConfigError(
            "--depth references: nerfstudio reads depth of every frame or of none; expected --depth all with it"
        )
    depths, notes = _write_depths(scene, folder, progress) if depth_of else ({}, list[str]())
    used = [scene.images[k] for k in scene.registered]
    need_images(scene, used)
    masked = all(i.mask_path is not None for i in used)
    frames = []
    for k, image in zip(scene.registered, progress(used, total=len(used), label="images"), strict=True):
        mask = None
        file = copy_image(image, folder)
        if masked and image.mask_path is not None:
            mask = "masks/" + (image.name if image.name.endswith(".png") else image.name + ".png")
            (folder / mask).parent.mkdir(parents=True, exist_ok=True)
            write_mask(folder / mask, read_mask(image.mask_path))
        pose = scene.model.cam_from_world[k]
        name = file.relative_to(folder).as_posix()
        frames.append(TransformsFrame(name, mask, image.camera, pose, depths.get(k)))
    write_transforms(folder, frames, scene.model.xyz, scene.model.rgb, scene.metric)
    return notes if masked else [*notes, "no masks: not every image has one beside it"]


def _write_depths(scene: Scene, folder: Path, progress: Progress) -> tuple[dict[int, str], list[str]]:
    """Write depths/ with a file for every frame; returns their paths by position, and what to know of them."""
    paths: dict[int, str] = {}
    coverage = []

    def save(frame: DrawnFrame) -> tuple[int, str, float]:
        name = f"depths/{scene.images[frame.position].name}.npy"
        place = place_below(folder, name)
        with place.open("wb") as file:
            np.save(file, (PER_UNIT * frame.drawn.depth).astype(np.float32))
        return frame.position, name, frame.coverage

    for position, name, share in draw_each(scene, depth_frames(scene, "all"), save, progress):
        paths[position] = name
        coverage.append(share)
    return paths, [coverage_text(coverage)]


def opengl_from_pose(cam_from_world: FloatArray) -> NDArray[np.float64]:
    """world_from_cam (4, 4) with OpenGL camera axes, of a pose cam_from_world (3, 4) with OpenCV's."""
    world_from_cam = np.eye(4)
    world_from_cam[:3] = inverse_pose(cam_from_world)
    return world_from_cam @ OPENGL_FROM_OPENCV


def write_transforms(
    folder: Path,
    frames: list[TransformsFrame],
    xyz: FloatArray,
    rgb: NDArray[np.uint8],
    metric: MetricScale | None = None,
) -> None:
    """Write transforms.json and the cloud; images and masks are the caller's.

    Args:
        folder: An existing folder.
        frames: At least one. Intrinsics stand at the top when all share them, else in each frame.
        xyz: Points (P, 3) in the model's world.
        rgb: Their colours (P, 3).
        metric: The unit, where it is known.
    """
    shared = len({frame.camera for frame in frames}) == 1
    content: dict[str, Any] = {"camera_model": "OPENCV", **(metric.as_json() if metric else {})}
    if shared:
        content |= _intrinsics(frames[0].camera)
    content |= {"applied_transform": np.eye(4)[:3].tolist(), "ply_file_path": CLOUD, "frames": []}
    for frame in frames:
        entry: dict[str, Any] = {"file_path": frame.file_path}
        if frame.mask_path is not None:
            entry["mask_path"] = frame.mask_path
        if frame.depth_file_path is not None:
            entry["depth_file_path"] = frame.depth_file_path
        if not shared:
            entry |= _intrinsics(frame.camera)
        entry["transform_matrix"] = opengl_from_pose(frame.cam_from_world).tolist()
        content["frames"].append(entry)
    write_json(folder / "transforms.json", content)
    write_points(folder / CLOUD, xyz, rgb, comments=metric.comments if metric else ())


def _intrinsics(camera: PinholeCamera) -> dict[str, Any]:
    cx, cy = to_colmap(camera.principal_point)
    size = {"w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy}
    return size | {"cx": float(cx), "cy": float(cy), "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0}
