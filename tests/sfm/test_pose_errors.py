"""The errors that poses bring to points, against adjustments of matches that slide."""

from dataclasses import replace

import numpy as np
import pytest
from scene import camera_centres, make_scene

from dd_sfm.cameras import stack_poses
from dd_sfm.config import Config
from dd_sfm.evaluation.model.alignment import align_cameras
from dd_sfm.sfm import pose_errors
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.pose_errors import NormalEquations, errors_by_poses, place_errors, slides
from dd_sfm.sfm.triangulation import triangulate

SCALE_PX = 2.0


@pytest.fixture(scope="module")
def scene():
    frames, tracks, truth = make_scene(frames=8, points=250, outliers=0, noise_px=0)
    return frames, triangulate(tracks, truth.cam_from_world, frames.camera, Config())[0]


def moved_poses(model, frames, shift_px):
    """Rotations and centres after an adjustment to shifted observations and an alignment by the cameras."""
    shifted = replace(model, xy=model.xy + shift_px)
    adjusted = bundle_adjust(shifted, frames, refine_focal=False, scale_px=SCALE_PX, threads=1, tolerance=1e-12)
    return align_cameras(stack_poses(adjusted.cam_from_world), stack_poses(model.cam_from_world)).aligned


def test_poses_move_as_in_a_monte_carlo_of_adjustments(scene):
    frames, model = scene
    moves, _ = slides(model)
    amounts = 0.002 * np.random.default_rng(3).normal(size=(moves.shape[1], 6))
    poses = NormalEquations(model, SCALE_PX).poses_moved_by(moves, amounts)
    before = stack_poses(model.cam_from_world)
    expected = -before[:, :, :3].transpose(0, 2, 1) @ poses[:, 3:]
    found = np.stack(
        [
            camera_centres(dict(enumerate(moved_poses(model, frames, shift.reshape(-1, 2)))))
            - camera_centres(model.cam_from_world)
            for shift in (moves @ amounts).T
        ],
        axis=2,
    )
    assert np.sqrt(np.square(expected).mean()) == pytest.approx(np.sqrt(np.square(found).mean()), rel=0.1)
    assert np.sqrt(np.square(expected - found).mean()) < 0.15 * np.sqrt(np.square(found).mean())


def test_points_move_with_a_whole_that_moves(scene):
    _, model = scene
    equations = NormalEquations(model, SCALE_PX)
    # Turned, shifted and grown as one, cameras are back in their places after the alignment.
    centres = camera_centres(model.cam_from_world)
    turn, shift, growth = np.array([0.01, -0.02, 0.03]), np.array([0.1, 0.2, -0.1]), 0.05
    rotation = equations.poses[:, :, :3]
    moved = np.cross(turn, centres) + shift + growth * centres
    poses = np.concatenate([-rotation @ turn, (-rotation @ moved[:, :, None])[:, :, 0]], 1)
    assert equations._aligned(poses[:, :, None]) == pytest.approx(0, abs=1e-12)


def test_far_points_are_less_sure_and_the_unit_does_not_matter(scene):
    _, model = scene
    found = errors_by_poses(model, model.xyz, SCALE_PX, 0)
    assert found.shape == (len(model.xyz),)
    assert (found > 0).all()
    larger = replace(
        model,
        xyz=1e4 * model.xyz,
        cam_from_world={k: np.column_stack([p[:, :3], 1e4 * p[:, 3]]) for k, p in model.cam_from_world.items()},
    )
    assert errors_by_poses(larger, larger.xyz, SCALE_PX, 0) == pytest.approx(found, rel=0.01)


def test_slides_in_proportion(scene, monkeypatch):
    _, model = scene
    found = errors_by_poses(model, model.xyz[:20], SCALE_PX, 0)
    monkeypatch.setattr(pose_errors, "SLIDE", 2 * pose_errors.SLIDE)
    assert errors_by_poses(model, model.xyz[:20], SCALE_PX, 0) == pytest.approx(2 * found)


def test_frames_without_points_and_models_without_any(scene):
    _, model = scene
    lonely = replace(model, cam_from_world={**model.cam_from_world, 30: model.cam_from_world[0]})
    assert np.isfinite(errors_by_poses(lonely, model.xyz, SCALE_PX, 0)).all()
    assert (errors_by_poses(model, model.xyz[:0], SCALE_PX, 0)).shape == (0,)
    none = np.zeros(0, np.int64)
    empty = replace(
        model, xyz=np.zeros((0, 3)), rgb=np.zeros((0, 3), np.uint8), error_px=np.zeros(0), point=none, frame=none,
        xy=np.zeros((0, 2)),
    )  # fmt: skip
    assert errors_by_poses(empty, model.xyz, SCALE_PX, 0) == pytest.approx(np.zeros(len(model.xyz)))


def test_places_of_cameras_are_as_unsure_as_in_a_monte_carlo_of_adjustments(scene, monkeypatch):
    frames, model = scene
    monkeypatch.setattr(pose_errors, "SLIDE", 1e-6)
    rng, centres = np.random.default_rng(5), camera_centres(model.cam_from_world)
    noise = pose_errors.NOISE * SCALE_PX * rng.normal(size=(12, len(model.point), 2))
    away = [camera_centres(dict(enumerate(moved_poses(model, frames, some)))) - centres for some in noise]
    found = place_errors(model, SCALE_PX, 0)
    assert found.shape == (8,)
    assert np.sqrt(np.square(found).mean()) == pytest.approx(np.sqrt(np.square(away).sum(2).mean()), rel=0.4)


def test_what_halves_differ_by_is_added_in_proportion(scene, monkeypatch):
    _, model = scene
    monkeypatch.setattr(pose_errors, "SLIDE", 1e-6)
    noise = np.random.default_rng(1).normal(0, 0.02, model.xy.shape)
    once, twice = (
        errors_by_poses(replace(model, xy=model.xy + times * noise), model.xyz, SCALE_PX, 0) for times in (1, 2)
    )
    assert np.median(once) > 5e-5
    assert np.median(twice / once) == pytest.approx(2, rel=0.1)
    monkeypatch.setattr(pose_errors, "FEWEST_OBSERVATIONS", 1000)
    assert errors_by_poses(replace(model, xy=model.xy + noise), model.xyz, SCALE_PX, 0).max() < 1e-5
