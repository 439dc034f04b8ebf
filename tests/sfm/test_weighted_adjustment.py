"""Poses and points adjusted to observations with covariances of their own."""

from dataclasses import replace

import numpy as np
import pytest
from scene import camera_centres, make_scene

from dd_sfm.config import Config
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.pose_priors import PosePriors
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.sfm.weighted_adjustment import adjust_weighted


def _disturbed(noise_px=0.2):
    frames, tracks, truth = make_scene(points=400, outliers=0, noise_px=noise_px)
    rng = np.random.default_rng(1)
    moved = {
        k: p + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.004, 3)]) for k, p in truth.cam_from_world.items()
    }
    return frames, triangulate(tracks, moved, frames.camera, Config(), scale=4.0)[0], truth


def _centre_error(model, truth):
    found, true = camera_centres(model.cam_from_world), camera_centres(truth.cam_from_world)
    scale, rotation, shift = similarity(found, true)
    return np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1).mean()


def _adjust(model, information=(1.0, 0.0, 1.0), **settings):
    every = np.tile(information, (len(model.frame), 1)) if np.ndim(information) == 1 else information
    return adjust_weighted(model, every, **{"loss_px": 1.0, "threads": 1, "tolerance": 1e-8, **settings})


def test_with_equal_weights_it_ends_where_colmaps_adjustment_does():
    frames, model, truth = _disturbed()
    adjusted = _adjust(model)
    theirs = bundle_adjust(model, frames, refine_focal=False, scale_px=1.0, threads=1, tolerance=1e-8)
    assert _centre_error(adjusted, truth) < 0.5 * _centre_error(model, truth)
    assert _centre_error(adjusted, theirs) < 0.02 * _centre_error(adjusted, truth)


def test_measured_poses_hold_place_size_and_a_frame_that_images_leave_open():
    _, model, truth = _disturbed()
    keys = sorted(truth.cam_from_world)
    open_frame = keys[3]
    seen = model.frame != open_frame
    point, frame, xy = model.point[seen], model.frame[seen], model.xy[seen]
    grown = {k: np.column_stack([p[:, :3], 1.3 * p[:, 3]]) for k, p in model.cam_from_world.items()}
    few = replace(model, point=point, frame=frame, xy=xy, xyz=1.3 * model.xyz, cam_from_world=grown)
    priors = PosePriors(truth.cam_from_world, 0.002, 0.1, variance=0.04)
    aligned = priors.aligned(few)
    adjusted = priors.aligned(_adjust(aligned, priors=priors))
    found, true = camera_centres(adjusted.cam_from_world), camera_centres(truth.cam_from_world)
    away = np.linalg.norm(found - true, axis=1)
    assert np.median(away) < 0.003
    assert away[keys.index(open_frame)] < 0.003
    assert np.ptp(found) / np.ptp(true) == pytest.approx(1, abs=0.01)


def test_exact_poses_are_left_alone():
    _, model, truth = _disturbed()
    assert PosePriors(truth.cam_from_world, are_exact=True).aligned(model) is model


def test_what_is_not_measured_along_an_edge_does_not_hold_the_poses():
    _, model, truth = _disturbed(noise_px=0.05)
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, np.pi, len(model.frame))
    along, across = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([-np.sin(angle), np.cos(angle)], 1)
    slid = replace(model, xy=(model.xy + along * rng.normal(0, 2, (len(angle), 1))).astype(np.float32))
    x, y = across.T
    information = np.stack([x * x, x * y, y * y], 1) + np.array([1e-3, 0, 1e-3])
    told, untold = _adjust(slid, information), _adjust(slid)
    assert _centre_error(told, truth) < 0.25 * _centre_error(untold, truth)


def test_a_frame_with_all_its_points_behind_it_stays_as_it_is():
    _, model, truth = _disturbed()
    turned = max(model.cam_from_world)
    away = np.diag([1.0, -1.0, -1.0]) @ model.cam_from_world[turned]
    adjusted = _adjust(replace(model, cam_from_world={**model.cam_from_world, turned: away}))
    assert np.array_equal(adjusted.cam_from_world[turned], away)
    others = {k: p for k, p in adjusted.cam_from_world.items() if k != turned}
    before = {k: p for k, p in model.cam_from_world.items() if k != turned}
    true = replace(truth, cam_from_world={k: truth.cam_from_world[k] for k in others})
    assert _centre_error(replace(model, cam_from_world=others), true) < 0.7 * _centre_error(
        replace(model, cam_from_world=before), true
    )


def test_threads_change_nothing():
    _, model, _ = _disturbed()
    one, four = _adjust(model, most_steps=3), _adjust(model, most_steps=3, threads=4)
    assert np.array_equal(one.xyz, four.xyz)
    assert all(np.array_equal(one.cam_from_world[k], four.cam_from_world[k]) for k in one.cam_from_world)


def test_frames_of_any_numbers_and_without_observations():
    _, model, truth = _disturbed()
    numbers = {k: 3 * k + 5 for k in model.cam_from_world}
    poses = {numbers[k]: pose for k, pose in model.cam_from_world.items()} | {2: np.eye(4)[:3], 90: np.eye(4)[:3]}
    moved = replace(model, cam_from_world=poses, frame=np.array([numbers[k] for k in model.frame.tolist()], np.int32))
    adjusted = _adjust(moved)
    assert np.array_equal(adjusted.cam_from_world[90], np.eye(4)[:3])
    back = replace(adjusted, cam_from_world={k: adjusted.cam_from_world[n] for k, n in numbers.items()})
    assert _centre_error(back, truth) < 0.5 * _centre_error(model, truth)


def test_points_behind_a_camera_move_nothing_to_where_nothing_is():
    _, model, truth = _disturbed()
    xyz = model.xyz.copy()
    xyz[:5] = -50 * xyz[:5]
    adjusted = _adjust(replace(model, xyz=xyz))
    assert np.isfinite(adjusted.xyz).all()
    assert _centre_error(adjusted, truth) < 0.5 * _centre_error(model, truth)
