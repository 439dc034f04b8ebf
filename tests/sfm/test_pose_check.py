from dataclasses import replace

import numpy as np
import pytest
from scene import CAMERA, make_scene
from scipy.spatial.transform import Rotation

from dd_sfm.config import Config, load_config
from dd_sfm.sfm import pair_support
from dd_sfm.sfm.mappers import MappedModel
from dd_sfm.sfm.pair_support import PairSupport, agree, free_pose, pair_supports
from dd_sfm.sfm.piece_notes import model_notes
from dd_sfm.sfm.pose_check import MATCHES, PLACE, check_poses, check_together
from dd_sfm.sfm.side_poses import SidePoses
from dd_sfm.sfm.sound_models import ModelChecker, SoundModel, SoundModels
from dd_sfm.sfm.sound_notes import sound_notes

CONFIG = load_config(Config, None, ["runtime.threads=1", "triangulation.bundle_adjust=false"])


@pytest.fixture(scope="module")
def scene():
    """Frames, tracks and the true poses of 14 of them."""
    frames, tracks, truth = make_scene(14, points=200, outliers=0.05)
    return frames, tracks, truth.cam_from_world


def checked(tracks, poses):
    return check_poses(tracks, np.ones(tracks.count, bool), poses, CAMERA, 1.0, 0)


def centre(pose):
    return -pose[:, :3].T @ pose[:, 3]


def moved(pose, turned_deg, shift):
    rotation = Rotation.from_rotvec(np.radians(turned_deg) * np.array([0.6, 0.8, 0.0])).as_matrix() @ pose[:, :3]
    return np.column_stack([rotation, -rotation @ (centre(pose) + shift)])


def rescaled(poses, first, factor):
    """Those from ``first`` on in another scale, as seen from the one before it."""
    origin = centre(poses[first - 1])
    return {
        k: pose
        if k < first
        else np.column_stack([pose[:, :3], -pose[:, :3] @ (origin + factor * (centre(pose) - origin))])
        for k, pose in poses.items()
    }


def bent(poses, first, degrees):
    """Those from ``first`` on turned about the one before it."""
    origin, turn = centre(poses[first - 1]), Rotation.from_rotvec([0, np.radians(degrees), 0]).as_matrix()
    found = dict(poses)
    for k in range(first, len(poses)):
        rotation = poses[k][:, :3] @ turn.T
        found[k] = np.column_stack([rotation, -rotation @ (origin + turn @ (centre(poses[k]) - origin))])
    return found


def test_a_sound_model_holds_and_is_trusted(scene):
    _, tracks, poses = scene
    found = checked(tracks, poses)
    assert found.parts == [list(range(14))]
    assert not found.wrong
    assert not found.broken
    assert not found.doubtful
    assert min(found.confidence.values()) > 0.95


@pytest.mark.parametrize("frame", [0, 1, 6])
@pytest.mark.parametrize(("turned", "shift"), [(0.0, 1.5), (8.0, 0.0)])
def test_a_frame_in_a_wrong_place_is_found_and_no_other(scene, frame, turned, shift):
    _, tracks, poses = scene
    found = checked(tracks, {**poses, frame: moved(poses[frame], turned, np.array([shift, 0, 0]))})
    assert list(found.wrong) == [frame]
    assert found.parts == [[k for k in range(14) if k != frame]]
    assert found.wrong[frame] in (MATCHES, PLACE)


def test_two_wrong_frames_beside_each_other_are_found(scene):
    _, tracks, poses = scene
    wrong = {k: moved(poses[k], 5.0, np.array([1.0, 0.5, 0])) for k in (6, 7)}
    found = checked(tracks, {**poses, **wrong})
    assert found.parts[0] == [k for k in range(14) if k not in (6, 7)]


@pytest.mark.parametrize("first", [5, 9])
def test_halves_in_different_scales_are_split(scene, first):
    _, tracks, poses = scene
    found = checked(tracks, rescaled(poses, first, 1.6))
    assert set(found.parts[0]) in (set(range(first)), set(range(first, 14)), set(range(first - 1, 14)))
    assert not set(found.parts[0]) & set(range(first - 1)) or not set(found.parts[0]) & set(range(first, 14))


def test_a_bend_splits_a_model(scene):
    _, tracks, poses = scene
    found = checked(tracks, bent(poses, 9, 10.0))
    assert found.parts[0] == list(range(9))
    assert 9 in found.broken


def test_places_that_all_observations_know_together_hold(scene):
    _, _, poses = scene
    path = sum(np.linalg.norm(centre(poses[k + 1]) - centre(poses[k])) for k in range(13))
    sigma = np.full(14, 0.01 * path)
    found = check_together(poses, sigma, [])
    assert found.parts == [list(range(14))]
    assert 0.7 < min(found.confidence.values()) < 1
    contrary = [PairSupport(3, 4, 100, 40, 80)]
    assert check_together(poses, sigma, contrary).confidence[4] == 0.5
    sigma[7] = 0.05 * path
    assert check_together(poses, sigma, []) is None


def test_a_model_without_what_does_not_hold(scene):
    frames, tracks, poses = scene
    wrong = bent(poses, 9, 10.0) | {3: moved(poses[3], 0.0, np.array([1.5, 0, 0]))}
    checker = ModelChecker(frames, tracks, np.ones(tracks.count, bool), CONFIG)
    sound = checker.sound([MappedModel(wrong, CAMERA, 0)])
    assert sorted(sound.models[0].poses) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert 3 in sound.left_out
    assert not sound.is_whole
    texts = [note.text for note in sound_notes(sound, frames)]
    assert any(text.startswith("1 frame was taken out of the model: 3: ") for text in texts)
    assert any(text.startswith("the model was split before frame 9: ") for text in texts) or 9 in sound.left_out
    completed = checker.completed([MappedModel(wrong, CAMERA, 0)], sound)
    assert sorted(completed.models[0].poses) == list(range(14))
    assert not completed.left_out
    assert np.allclose(completed.models[0].poses[3], poses[3], atol=0.05)


def test_where_nothing_can_be_said_the_model_is_left_as_it_is(scene):
    frames, tracks, poses = scene
    few = tracks.where(tracks.track < 8)
    checker = ModelChecker(frames, few, np.ones(few.count, bool), CONFIG)
    models = [MappedModel(dict(poses), CAMERA, 0)]
    completed = checker.completed(models, checker.sound(models))
    assert len(completed.models[0].poses) == 14
    assert completed.unconfirmed
    assert "do not trust" in sound_notes(completed, frames)[0].text


def test_matches_that_the_mapper_had_do_not_count_where_there_are_others(scene):
    _, tracks, poses = scene
    held_out = np.arange(tracks.count) % 2 == 0
    alone = tracks.where(held_out[tracks.track])
    some = pair_supports(tracks, held_out, poses, CAMERA, 1.0)
    assert [p for p in some if p.matches > 20] == [
        p for p in pair_supports(alone, np.ones(alone.count, bool), poses, CAMERA, 1.0) if p.matches > 20
    ]


def test_a_relative_pose_is_found_and_agrees_with_its_matches():
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -2, 4), (2, 2, 9), (200, 3))
    pose = np.column_stack([Rotation.from_rotvec([0.05, -0.1, 0.02]).as_matrix(), [0.5, 0.1, -0.2]])
    there = points @ pose[:, :3].T + pose[:, 3]
    rays = points / points[:, 2:], there / there[:, 2:]
    assert agree(*rays, pose, 1e-3).all()
    assert agree(*rays, free_pose(*rays, 1e-3), 2e-3).mean() > 0.95
    behind = np.column_stack([pose[:, :3], -pose[:, 3]])
    assert agree(*rays, behind, 1e-3).mean() < 0.05


def test_a_side_tells_how_well_it_knows_a_place(scene):
    _, tracks, poses = scene
    exact = SidePoses(tracks, poses, CAMERA, 1.0, 0)
    sharp = exact.pose(6, range(0, 6))
    few = SidePoses(tracks.where(tracks.track % 8 == 0), poses, CAMERA, 1.0, 0).pose(6, range(0, 6))
    assert sharp.away < 3 * sharp.sigma
    assert few.sigma > 2 * sharp.sigma
    assert not sharp.is_after
    assert exact.pose(6, range(7, 13)).is_after
    assert replace(sharp, best=11).tells is False


def sound_parts(poses, *parts, splits):
    models = [SoundModel({k: poses[k] for k in part}, CAMERA, dict.fromkeys(part, 0.9), 0) for part in parts]
    return SoundModels(models, {}, splits)


@pytest.mark.parametrize(
    ("added", "rest", "splits", "left_out"),
    [
        (range(7, 14), [], {}, []),
        (range(7, 10), [[10, 11, 12, 13]], {10: PLACE}, []),
        (range(7, 12), [], {}, [12, 13]),
    ],
)
def test_a_frame_is_in_one_model_only(scene, monkeypatch, added, rest, splits, left_out):
    frames, tracks, poses = scene
    sound = sound_parts(poses, range(7), range(7, 14), splits={7: PLACE})
    checker = ModelChecker(frames, tracks, np.ones(tracks.count, bool), CONFIG)
    larger = replace(sound.models[0], poses={k: poses[k] for k in [*range(7), *added]})
    monkeypatch.setattr(checker, "_with_remaining", lambda model: larger)
    found = checker.completed([], sound)
    assert [sorted(model.poses) for model in found.models] == [sorted(larger.poses), *rest]
    assert all(set(model.confidence) == set(model.poses) for model in found.models[1:])
    assert found.splits == splits
    assert sorted(found.left_out) == left_out


def test_halves_that_are_registered_anew_are_one_model_again(scene):
    frames, tracks, poses = scene
    checker = ModelChecker(frames, tracks, np.ones(tracks.count, bool), CONFIG)
    found = checker.completed([], sound_parts(rescaled(poses, 7, 1.6), range(7), range(7, 14), splits={7: PLACE}))
    assert [sorted(model.poses) for model in found.models] == [list(range(14))]
    assert not found.splits
    assert not found.left_out


def test_many_frames_that_were_taken_out_are_counted_and_some_named(scene):
    frames, _, poses = scene
    sound = replace(sound_parts(poses, range(3), splits={}), left_out=dict.fromkeys(range(3, 14), MATCHES))
    text = sound_notes(sound, frames)[0].text
    assert text.startswith("11 frames were taken out of the model: 3, 4, 5, 6, 7, 8, 9, 10, ...: ")
    assert text.endswith("contradict their poses")
    assert not model_notes([model.poses for model in sound.models], frames, sound.left_out)


def test_pairs_that_share_tracks_are_found_by_some_of_the_tracks(scene, monkeypatch):
    _, tracks, poses = scene
    every = np.ones(tracks.count, bool)
    found = [(p.first, p.second) for p in pair_supports(tracks, every, poses, CAMERA, 1.0)]
    monkeypatch.setattr(pair_support, "COMPARED_TRACKS", 20)
    assert [(p.first, p.second) for p in pair_supports(tracks, every, poses, CAMERA, 1.0)] == found
    rank, track = tracks.frame, tracks.track
    counts = np.bincount(rank[pair_support._thinned(rank, track, 14)], minlength=14)
    assert counts.min() >= 10
    assert counts.sum() < 0.5 * len(rank)
