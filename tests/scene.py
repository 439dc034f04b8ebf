"""A made-up scene: cameras that move through a tube, points on its wall, tracks with noise and mistakes."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera
from dd_sfm.structures import Frame, FrameSet, Model, Tracks

CAMERA = PinholeCamera(960, 720, 600.0, 600.0, 479.5, 359.5)


def make_scene(frames=14, points=500, noise_px=0.3, outliers=0.1, seed=0, folder=None):
    """A FrameSet (without files), Tracks, and the true Model (only poses and points)."""
    rng = np.random.default_rng(seed)
    folder = folder or Path("nowhere")
    if folder.is_dir():
        # COLMAP's mappers want the folder of images, though not the images.
        (folder / "frames").mkdir(exist_ok=True)
    angle, along = rng.uniform(0, 2 * np.pi, points), rng.uniform(3, 14, points)
    radius = 2.0 + 0.3 * np.sin(3 * angle) + 0.2 * np.sin(along)
    xyz = np.c_[radius * np.cos(angle), radius * np.sin(angle), along]
    poses = {}
    for k in range(frames):
        rotation = Rotation.from_rotvec([0.02 * np.sin(k), 0.015 * k, 0.03 * k]).as_matrix()
        centre = np.array([0.5 * np.sin(k / 3), 0.4 * np.cos(k / 2), 0.15 * k])
        poses[k] = np.column_stack([rotation, -rotation @ centre])
    point, frame, xy = project(xyz, poses, CAMERA)
    noisy = xy + rng.normal(0, noise_px, xy.shape)
    wrong = rng.random(len(noisy)) < outliers
    noisy[wrong] += rng.uniform(-80, 80, (wrong.sum(), 2))
    keep = np.bincount(point, minlength=points)[point] >= 2
    _, track = np.unique(point[keep], return_inverse=True)
    anchor = np.r_[True, np.diff(track) > 0]
    tracks = Tracks(track, frame[keep], noisy[keep].astype(np.float32), np.full(keep.sum(), 0.9, np.float32), anchor)
    names = tuple(
        Frame(k, folder / "frames" / f"{k:08d}.png", folder / "masks" / f"{k:08d}.png.png", k / 25)
        for k in range(frames)
    )
    truth = Model(CAMERA, poses, xyz, np.zeros((points, 3), np.uint8), np.zeros(points), point, frame, xy)
    return FrameSet(names, CAMERA, 720), tracks, truth


def project(xyz, poses, camera):
    """Observations (point, frame, xy) of all points inside the picture, sorted by point, then frame."""
    rows = []
    for frame, pose in poses.items():
        local = xyz @ pose[:, :3].T + pose[:, 3]
        depth = np.maximum(local[:, 2], 1e-9)
        xy = local[:, :2] / depth[:, None] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        seen = (local[:, 2] > 0.2) & (xy > 0).all(1) & (xy < [camera.width - 1, camera.height - 1]).all(1)
        rows.append(np.column_stack([np.flatnonzero(seen), np.full(seen.sum(), frame), xy[seen]]))
    table = np.concatenate(rows)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:]


def camera_centres(poses):
    """Centres (N, 3) in the order of the frames."""
    return np.array([-poses[k][:, :3].T @ poses[k][:, 3] for k in sorted(poses)])
