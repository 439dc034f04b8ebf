"""Models of the same frames that contradict each other."""

from dataclasses import replace

import numpy as np
import pytest
from scene import CAMERA, make_scene
from test_pose_check import CONFIG, moved, rescaled

from dd_sfm.sfm import mapper_choice, sound_models
from dd_sfm.sfm.mapper_choice import Candidate, best_candidate
from dd_sfm.sfm.mappers import MappedModel
from dd_sfm.sfm.rival_models import refutations
from dd_sfm.sfm.sound_models import ModelChecker
from dd_sfm.sfm.track_fit import track_fit


@pytest.fixture(scope="module")
def scene():
    """Frames, tracks and the true poses of ten of them."""
    frames, tracks, truth = make_scene(10, points=200, outliers=0.05)
    return frames, tracks, truth.cam_from_world


@pytest.fixture(scope="module")
def checker(scene):
    frames, tracks, _ = scene
    return ModelChecker(frames, tracks, np.ones(tracks.count, bool), CONFIG)


def model(poses):
    return MappedModel(poses, CAMERA, 0)


def test_tracks_fit_true_poses_and_no_others(scene):
    _, tracks, poses = scene
    true, wrong = (track_fit(tracks, some, CAMERA, 1.0, 0) for some in (poses, rescaled(poses, 5, 1.6)))
    assert 2 * true.cost < wrong.cost <= 1
    assert true.angle_deg > 2


def test_tracks_that_one_frame_sees_tell_nothing(scene):
    _, tracks, poses = scene
    found = track_fit(tracks, {0: poses[0]}, CAMERA, 1.0, 0)
    assert (found.cost, found.angle_deg) == (1.0, 0.0)


def test_a_model_is_refuted_by_one_that_explains_its_frames_better(scene, checker):
    _, _, poses = scene
    wrong = rescaled(poses, 5, 1.6)
    models = [model(wrong), None, model(poses)]
    (found,) = refutations(models, models, checker)
    assert (found.number, found.by) == (0, 2)
    assert found.times > 2
    assert not refutations(models, models, checker, compared=3)
    assert refutations(models, models, checker, compared=2) == [found]


def test_what_holds_of_a_model_is_not_refuted_for_what_does_not(scene, checker):
    _, _, poses = scene
    partly = {**poses, 9: moved(poses[9], 8.0, np.zeros(3))}
    claim = {k: pose for k, pose in poses.items() if k != 9}
    assert not refutations([model(claim), model(poses)], [model(partly), model(poses)], checker)


def test_a_few_common_frames_refute_nothing(scene, checker):
    _, _, poses = scene
    few = {k: poses[k] for k in range(4, 8)}
    models = [model(rescaled(poses, 5, 1.6)), model(few)]
    assert not refutations(models, models, checker)


def test_a_refuted_result_is_taken_only_where_all_are():
    frames = dict.fromkeys(range(10), np.eye(3, 4))
    larger = Candidate("relaxed", [model(frames)], None, 1.0, is_refuted=True)
    smaller = Candidate("global", [model(dict.fromkeys(range(3), np.eye(3, 4)))], None, 1.0)
    assert best_candidate([larger, Candidate("global", [], None, 1.0)], max_scale_jump=2.0) is larger
    assert best_candidate([larger, smaller], max_scale_jump=2.0) is smaller
    assert best_candidate([larger, replace(smaller, is_refuted=True)], max_scale_jump=2.0) is larger


def test_with_little_parallax_a_second_mapper_has_its_say(scene, checker, monkeypatch):
    _, _, poses = scene
    result = Candidate("global", [model(poses)], None, 1.0)
    assert not mapper_choice._needs_rival(result, checker)
    assert not mapper_choice._needs_rival(result, None)
    monkeypatch.setattr(sound_models, "LITTLE_PARALLAX_DEG", 10.0)
    assert mapper_choice._needs_rival(result, checker)
