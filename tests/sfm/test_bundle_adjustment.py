"""Poses and points adjusted together."""

from dataclasses import replace

import numpy as np
from scene import camera_centres, make_scene

from dd_sfm.config import Config
from dd_sfm.sfm import bundle_adjustment
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.triangulation import triangulate


def _disturbed():
    frames, tracks, truth = make_scene(points=800, outliers=0, noise_px=0.2)
    rng = np.random.default_rng(1)
    moved = {
        k: p + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.004, 3)]) for k, p in truth.cam_from_world.items()
    }
    model, _ = triangulate(tracks, moved, frames.camera, Config(), scale=4.0)

    def centre_error(poses):
        found, true = camera_centres(poses), camera_centres(truth.cam_from_world)
        scale, rotation, shift = similarity(found, true)
        return np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1).mean()

    return frames, model, centre_error


def test_bundle_adjustment_mends_disturbed_poses():
    frames, model, centre_error = _disturbed()
    adjusted = bundle_adjust(model, frames, refine_focal=False, scale_px=1.0, threads=1)
    assert centre_error(adjusted.cam_from_world) < 0.5 * centre_error(model.cam_from_world)
    assert adjusted.camera == frames.camera


def test_a_long_path_is_adjusted_on_a_part_of_the_points(monkeypatch):
    frames, model, centre_error = _disturbed()
    monkeypatch.setattr(bundle_adjustment, "MOST_FRAMES", len(model.cam_from_world) // 2)
    adjusted = bundle_adjust(model, frames, refine_focal=False, scale_px=1.0, threads=1)
    assert len(adjusted.xyz) <= len(model.xyz) / 2 + 1
    assert centre_error(adjusted.cam_from_world) < 0.5 * centre_error(model.cam_from_world)


def test_a_frame_with_few_points_keeps_them_all(monkeypatch):
    _, model, _ = _disturbed()
    lonely = int(model.frame[0])
    rows = (model.frame != lonely) | (model.point % 40 == 0)
    few = replace(model, point=model.point[rows], frame=model.frame[rows], xy=model.xy[rows])
    monkeypatch.setattr(bundle_adjustment, "MOST_FRAMES", len(model.cam_from_world) // 2)
    thinned = bundle_adjustment.thinned(few)
    assert (thinned.frame == lonely).sum() == (few.frame == lonely).sum()
    assert len(thinned.xyz) < 0.7 * len(few.xyz)
