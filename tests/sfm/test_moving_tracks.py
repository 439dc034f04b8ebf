import numpy as np
import pytest
from scene import CAMERA, make_scene

from dd_sfm.config import Config
from dd_sfm.sfm.moving_tracks import judge_tracks
from dd_sfm.sfm.two_view_consensus import agreeing_tracks
from dd_sfm.structures import Tracks


def with_instrument(tracks, frames, motion, count=80):
    """Tracks of a scene and, numbered after them, those of something that is in every frame."""
    rng = np.random.default_rng(3)
    start = rng.uniform((500, 400), (800, 650), (count, 2))
    path = {
        "rest": np.zeros((frames, 2)),
        "swing": np.stack([60 * np.sin(np.arange(frames)), 40 * np.cos(1.7 * np.arange(frames))], 1),
    }[motion]
    xy = (start[:, None] + path + rng.normal(0, 0.3, (count, frames, 2))).reshape(-1, 2).astype(np.float32)
    track = np.repeat(np.arange(tracks.count, tracks.count + count), frames)
    frame = np.tile(np.arange(frames), count)
    ones = np.ones(len(track), np.float32)
    joined = [
        np.concatenate([a, b])
        for a, b in zip(
            (tracks.track, tracks.frame, tracks.xy, tracks.score, tracks.anchor),
            (track, frame, xy, ones, frame == 0),
            strict=True,
        )
    ]
    return Tracks(*joined)


@pytest.mark.parametrize("motion", ["rest", "swing"])
def test_tracks_that_move_against_the_scene_are_told_from_those_that_hold_still(motion):
    frames, tracks, truth = make_scene(outliers=0.02)
    both = with_instrument(tracks, len(frames), motion)
    judged = judge_tracks(both, truth.cam_from_world, CAMERA, Config(), 1.0)
    own = np.isin(judged.xy.view(np.complex64).ravel(), both.xy[both.track >= tracks.count].view(np.complex64).ravel())
    assert own.sum() == 80 * len(frames)
    assert judged.moving[own].mean() > 0.95
    assert judged.moving[~own].mean() < 0.05
    assert judged.still_count == (~judged.moving).sum()


def test_short_tracks_are_not_judged():
    _, tracks, truth = make_scene(outliers=0)
    short = tracks.where(tracks.frame < 4)
    judged = judge_tracks(short, truth.cam_from_world, CAMERA, Config(), 1.0)
    assert len(judged.moving) == 0
    assert judged.moving_share == 0.0


@pytest.mark.parametrize("motion", ["rest", "swing"])
def test_tracks_agree_with_most_others_without_any_poses(motion):
    frames, tracks, _ = make_scene(outliers=0.02)
    both = with_instrument(tracks, len(frames), motion)
    kept = agreeing_tracks(both, len(frames), CAMERA, 1.0)
    whole = set(map(tuple, both.xy[both.track >= tracks.count].tolist()))
    on_instrument = np.array([tuple(place) in whole for place in kept.xy.tolist()])
    assert on_instrument.mean() < 0.02
    assert kept.count > 0.8 * tracks.count


def test_no_track_is_left_of_frames_that_have_too_few():
    frames, tracks, _ = make_scene(points=10)
    assert agreeing_tracks(tracks, len(frames), CAMERA, 1.0).count == 0
