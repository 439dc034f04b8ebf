"""Poses and points adjusted together."""

import numpy as np
from scene import camera_centres, make_scene

from dd_sfm.config import Config
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.triangulation import triangulate


def test_bundle_adjustment_mends_disturbed_poses():
    frames, tracks, truth = make_scene(points=800, outliers=0, noise_px=0.2)
    rng = np.random.default_rng(1)
    moved = {
        k: p + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.004, 3)]) for k, p in truth.cam_from_world.items()
    }
    model, _ = triangulate(tracks, moved, frames.camera, Config(), scale=4.0)
    adjusted = bundle_adjust(model, frames, refine_focal=False, scale_px=1.0, threads=1)

    def centre_error(poses):
        found, true = camera_centres(poses), camera_centres(truth.cam_from_world)
        scale, rotation, shift = similarity(found, true)
        return np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1).mean()

    assert centre_error(adjusted.cam_from_world) < 0.5 * centre_error(moved)
    assert adjusted.camera == frames.camera
