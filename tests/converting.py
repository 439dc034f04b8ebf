"""A small run folder of the plane: model, frames, masks, times and database."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import texture
from plane import CAMERA, FRAMES, plane_model, to_own_world

from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_database import write_database
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import Frame, FrameSet, Tracks

FIRST, WITHOUT_POSE = 10, 3


def small_model():
    """A few dozen points of the plane in a world of their own, with colours, and an image without a pose."""
    model = to_own_world(plane_model(5.0))
    rgb = np.random.default_rng(0).integers(0, 256, (len(model.xyz), 3)).astype(np.uint8)
    keep = model.frame != WITHOUT_POSE
    poses = {k: pose for k, pose in model.cam_from_world.items() if k != WITHOUT_POSE}
    return replace(
        model, rgb=rgb, cam_from_world=poses, point=model.point[keep], frame=model.frame[keep], xy=model.xy[keep]
    )


def write_small_run(folder: Path):
    """Write the run; returns its model, whose frame k is source frame k + FIRST."""
    model = small_model()
    count = max(model.cam_from_world) + 1
    frames = _frames(folder, count)
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True)
    for k, frame in enumerate(frames.frames):
        write_image(frame.path, texture(120, 160, seed=k))
        mask = np.ones((120, 160), bool)
        mask[:, :k] = False
        write_mask(frame.mask_path, mask)
    records = [{"index": f.index, "time_s": f.time_s, "kept": True} for f in frames.frames]
    (folder / "frames.json").write_text(json.dumps({"frames": records}))
    write_model(folder / "sparse" / "0", model, frames)
    tracks = Tracks(
        model.point,
        model.frame,
        model.xy.astype(np.float32),
        np.ones(len(model.point)),
        np.zeros(len(model.point), bool),
    )
    write_database(folder / "database.db", frames, tracks, min_matches=1)
    write_cloud(folder / "points.ply", to_cloud(model))
    return model


def write_dense_run(folder: Path, uncertainty: float | None = 0.02):
    """Write the run with points dense enough to be a surface, whose expected relative errors are as given, or none."""
    write_small_run(folder)
    model = to_own_world(plane_model(0.7))
    write_model(folder / "sparse" / "0", model, _frames(folder, FRAMES))
    known = None if uncertainty is None else np.full(len(model.xyz), uncertainty)
    write_cloud(folder / "points.ply", to_cloud(model, known))


def _frames(folder: Path, count: int) -> FrameSet:
    names = [f"{k + FIRST:08d}.png" for k in range(count)]
    return FrameSet(
        tuple(
            Frame(k + FIRST, folder / "frames" / n, folder / "masks" / (n + ".png"), (k + FIRST) / 25)
            for k, n in enumerate(names)
        ),
        CAMERA,
        120,
    )
