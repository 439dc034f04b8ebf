"""Frames are placed in a model where its points are found in them, and only there."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scene import make_scene
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres
from dd_sfm.features import localization
from dd_sfm.features.localization import FEW_AGREE, JUMPS, NOTHING_ALIKE, FramePlacer, Placed, out_of_line
from dd_sfm.features.model_views import ModelViews
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.progress import silent
from dd_sfm.sfm.track_builder import PairFound
from dd_sfm.structures import FrameSet, Model, WorkingGrid

FRAMES, KNOWN = 14, 9
"""Frames of the path, and how many of them the model has; the others are placed."""


@dataclass
class TrueMatcher:
    """Finds what a made-up scene shows in both frames, up to ``wrong_px`` away; those of ``blind`` show nothing of it.

    ``first``: the number in the scene of the frame at position 0.
    """

    truth: Model
    frames: FrameSet
    first: int = 0
    wrong_px: float = 0.3
    blind: tuple[int, ...] = ()
    grid = WorkingGrid(1.0, (0, 0), 960, 720, 2)
    device = torch.device("cpu")

    @property
    def maps(self):
        return self

    def match(self, reference, target, xy, other):
        if target in other.blind or not len(xy):
            return PairFound(np.zeros(0, int), np.zeros((0, 2)), np.zeros(0), 0.0)
        truth, rng = self.truth, np.random.default_rng([reference, target])
        rows, others = (np.flatnonzero(truth.frame == k) for k in (self.first + reference, other.first + target))
        near = cKDTree(truth.xy[rows]).query(xy)[1]
        both, here, there = np.intersect1d(truth.point[rows[near]], truth.point[others], return_indices=True)
        found = other.truth.xy[others[there]] + rng.normal(0, other.wrong_px, (len(both), 2))
        return PairFound(here, found, np.ones(len(both)), len(both) / len(xy))


def sides(points=900, **of_frames):
    """The first frames of a path as a model, the others as frames to be placed, and the truth."""
    frames, _, truth = make_scene(FRAMES, points)
    known = np.flatnonzero(truth.frame < KNOWN)
    poses = {k: truth.cam_from_world[k] for k in range(KNOWN)}
    ours = TrueMatcher(truth, frames)
    views = ModelViews(
        matcher=ours,
        pooled=torch.ones(KNOWN, 1),
        poses=poses,
        camera=truth.camera,
        track=truth.point[known],
        xy=truth.xy[known],
        rows=FrameRows(truth.frame[known]),
        number=np.arange(points),
        xyz=truth.xyz,
        scale=1.0,
        seed=0,
    )
    count = FRAMES - KNOWN
    theirs = TrueMatcher(truth, replace(frames, frames=frames.frames[:count]), KNOWN, **of_frames)
    return FramePlacer(views, theirs, torch.ones(count, 1), truth.camera, 1.0), truth


def test_frames_of_the_same_place_are_placed_in_the_model():
    placer, truth = sides()
    found = placer.place_all(silent)
    assert found.reasons == {}
    assert sorted(found.placed) == list(range(FRAMES - KNOWN))
    for position, placed in found.placed.items():
        true = truth.cam_from_world[KNOWN + position]
        assert np.abs(camera_centres(np.stack([placed.cam_from_world, true])).T @ [1, -1]).max() < 0.02
        assert len(placed.supporting) >= 2
        assert placed.confidence > 0.8
        # No point twice, though several frames of the model show it.
        assert len(np.unique(placed.agreeing.track)) == placed.inliers
        assert placed.sigma < 0.02


def test_frames_of_another_place_get_no_pose_and_say_why():
    found = sides(blind=(1, 3))[0].place_all(silent)
    assert sorted(found.placed) == [0, 2, 4]
    assert found.reasons == {1: NOTHING_ALIKE, 3: NOTHING_ALIKE}


def test_points_that_agree_with_no_pose_place_no_frame():
    found = sides(wrong_px=120.0)[0].place_all(silent)
    assert found.placed == {}
    assert set(found.reasons.values()) == {FEW_AGREE}


def test_a_place_that_its_points_do_not_tell_counts_for_nothing(monkeypatch):
    monkeypatch.setattr(localization, "MOST_SIGMA", 1e-6)
    found = sides()[0].place_all(silent)
    assert set(found.reasons.values()) == {localization.UNSURE}


@pytest.mark.parametrize("jump", [0.0, 5.0])
def test_a_frame_away_from_those_before_and_after_it_is_told(jump):
    def placed(k):
        pose = np.column_stack([np.eye(3), [-0.1 * k - (jump if k == 6 else 0), 0.0, 0.0]])
        return Placed(pose, None, 0, (), 0.01, 1.0, 1.0)

    line = {k: placed(k) for k in range(13) if k != 9}
    assert out_of_line(line, range(13)) == ([6] if jump else [])
    # Over the end of a piece the view does not follow.
    assert out_of_line(line, range(6, 8)) == []
    assert JUMPS.startswith("its place is far")
