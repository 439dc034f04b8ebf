"""A rendered clip of a plane, with a model of it whose errors are known."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scene import project
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.colmap_model import write_model
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import Frame, FrameSet, Model

CAMERA = PinholeCamera(160, 120, 100.0, 100.0, 79.5, 59.5)
FRAMES, DEPTH_MM = 16, 20.0
# The model's own world: turned, scaled and shifted against the true one.
OWN = Similarity(0.4, Rotation.from_rotvec([0.5, 0.2, -0.9]).as_matrix(), np.array([1.0, 2.0, -3.0]))


def plane_poses():
    """Cameras on a curve in front of the plane, rolled, never tilted: every depth is the same."""
    poses = {}
    for k in range(FRAMES):
        rotation = Rotation.from_rotvec([0, 0, 0.02 * k]).as_matrix()
        centre = np.array([0.4 * k, 1.5 * np.sin(k / 5), 0.0])
        poses[k] = np.column_stack([rotation, -rotation @ centre])
    return poses


def write_truth(folder: Path, distortion: tuple[float, ...] = ()) -> Path:
    """truth.npz and mask.png of the plane; depth for every fifth frame. A bent lens sees the same depths."""
    folder.mkdir(parents=True)
    poses = np.stack([plane_poses()[k] for k in range(FRAMES)])
    rotation = poses[:, :, :3].transpose(0, 2, 1)
    depth_frames = np.arange(0, FRAMES, 5)
    np.savez(
        folder / "truth.npz",
        K=CAMERA.matrix,
        R=rotation,
        c=-np.einsum("nij,nj->ni", rotation, poses[:, :, 3]),
        depth=np.full((len(depth_frames), 120, 160), DEPTH_MM * 1000, np.uint16),
        depth_unit_mm=0.001,
        depth_frames=depth_frames,
        **({"distortion": np.array(distortion)} if distortion else {}),
    )
    cv2.imwrite(str(folder / "mask.png"), np.full((120, 160), 255, np.uint8))
    return folder


def plane_model(spacing_mm: float = 0.5) -> Model:
    """The plane's points and true poses, in the true world; error_px rises with the number of the point."""
    x, y = np.meshgrid(np.arange(-20, 26, spacing_mm), np.arange(-14, 17, spacing_mm))
    xyz = np.stack([x.ravel(), y.ravel(), np.full(x.size, DEPTH_MM)], 1)
    poses = plane_poses()
    point, frame, xy = project(xyz, poses, CAMERA)
    kept, point = np.unique(point, return_inverse=True)
    xyz = xyz[kept]
    error = np.linspace(0.1, 1.0, len(xyz))
    return Model(CAMERA, poses, xyz, np.zeros((len(xyz), 3), np.uint8), error, point, frame, xy)


def to_own_world(model: Model) -> Model:
    """The same model as a mapper would have it: in a world of its own."""
    frames = sorted(model.cam_from_world)
    moved = OWN.poses(np.stack([model.cam_from_world[f] for f in frames]))
    return replace(model, xyz=OWN.points(model.xyz), cam_from_world=dict(zip(frames, moved, strict=True)))


def write_run(folder: Path, model: Model, *, first: int = 0, pattern: str = "{:08d}.png") -> Path:
    """A COLMAP model folder; the images are numbered from ``first``."""
    names = [Path(pattern.format(k + first)) for k in range(max(model.cam_from_world) + 1)]
    frames = FrameSet(tuple(Frame(k, n, n, k / 25) for k, n in enumerate(names)), model.camera, 120)
    write_model(folder, model, frames)
    return folder
