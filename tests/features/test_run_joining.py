"""Runs of different lenses become one: where pixels and observations of each come to lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene import camera_centres, make_scene
from test_localization import TrueMatcher

from dd_sfm.cameras import PinholeCamera
from dd_sfm.features.model_views import ModelViews
from dd_sfm.features.run_joining import PixelMap, RunRelation, pose_together, relate_runs, tracks_of_both
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.presets import configure
from dd_sfm.sfm.geometry import Similarity, similarity
from dd_sfm.sfm.model_relation import Relation, Sightings
from dd_sfm.structures import Tracks

WIDE = PinholeCamera(640, 480, 300.0, 310.0, 310.0, 250.0)
MOVED = Similarity(0.4, np.diag([-1.0, 1.0, -1.0]), np.array([1.0, 2.0, 3.0]))


def test_a_pixel_map_keeps_rays():
    camera = PinholeCamera(960, 720, 600.0, 580.0, 479.5, 359.5)
    way = PixelMap.between(WIDE, camera)
    xy = np.array([[0.0, 0.0], [310.0, 250.0], [639.0, 100.5]])
    assert np.allclose(camera.normalise(way.xy(xy)), WIDE.normalise(xy))
    assert not way.is_identity
    assert PixelMap.between(camera, camera).is_identity
    assert not PixelMap.between(camera, replace(camera, cx=480.5)).is_identity


def test_tracks_of_two_runs_count_on_and_hold_what_each_sees_of_the_other():
    def tracks(count):
        ones = np.ones(2 * count, np.float32)
        numbers, frames = np.repeat(np.arange(count), 2), np.tile([0, 1], count)
        return Tracks(numbers, frames, np.full((2 * count, 2), 10.0, np.float32), ones, ones > 2)

    def seen(frame, track):
        return Sightings(np.array([frame]), np.array([track]), np.zeros((1, 3)), np.array([[4.0, 6.0]]), np.ones(1))

    relation = Relation(MOVED, 0.02, True, True, (np.ones(1, bool), np.ones(1, bool)), (3, 3))
    maps = PixelMap(np.ones(2), np.array([5.0, 0.0])), PixelMap(np.full(2, 2.0), np.zeros(2))
    found = RunRelation(relation, (seen(1, 0), seen(0, 2)), 1, 1)
    both = tracks_of_both(tracks(3), tracks(2), 2, found, maps)
    assert both.count == 5
    assert found.matches == 2
    rows = {(t, f): tuple(xy) for t, f, xy in zip(both.track, both.frame, both.xy.tolist(), strict=True)}
    assert rows[0, 0] == (15.0, 10.0)
    assert rows[4, 3] == (20.0, 20.0)
    # The first run's frame 1 sees the second one's track 0; frame 0 of the second, now 2, the first one's track 2.
    assert rows[3, 1] == (9.0, 6.0)
    assert rows[2, 2] == (8.0, 12.0)
    assert len(rows) == 12


def halves(points=4000):
    """The halves of a path as two runs, the second in a world of its own and by another lens; and the truth."""
    frames, _, truth = make_scene(16, points, noise_px=0.0, outliers=0.0)
    sides = []
    for first, camera in ((0, truth.camera), (8, WIDE)):
        rows = np.flatnonzero((truth.frame >= first) & (truth.frame < first + 8))
        poses = {k: truth.cam_from_world[k + first] for k in range(8)}
        xyz, xy = truth.xyz, truth.xy
        if first:
            way = PixelMap.between(truth.camera, camera)
            poses, xyz, xy = MOVED.poses_by_frame(poses), MOVED.points(xyz), way.xy(xy)
        own = replace(frames, frames=frames.frames[:8], camera=camera)
        used, track = np.unique(truth.point[rows], return_inverse=True)
        matcher = TrueMatcher(replace(truth, xy=xy), own, first)
        sides.append(
            ModelViews(
                matcher=matcher,
                pooled=torch.ones(8, 1),
                poses=poses,
                camera=camera,
                track=track,
                xy=xy[rows],
                rows=FrameRows(truth.frame[rows] - first),
                number=np.arange(len(used)),
                xyz=xyz[used],
                scale=1.0,
                seed=0,
            )
        )
    return sides, frames, truth


@pytest.mark.slow
def test_halves_of_a_path_by_two_lenses_become_one():
    (first, second), frames, truth = halves()
    found = relate_runs(first, second)
    assert found.relation.is_sure
    assert abs(np.log(found.relation.transform.scale * MOVED.scale)) < 0.002
    maps = PixelMap.between(truth.camera, truth.camera), PixelMap.between(WIDE, truth.camera)
    tracks = [_tracks(side) for side in (first, second)]
    both = tracks_of_both(*tracks, 8, found, maps)
    model, check = pose_together(frames, both, first, second, found, configure("preview"))
    assert sorted(model.cam_from_world) == list(range(16))
    centres, true = camera_centres(model.cam_from_world), camera_centres(truth.cam_from_world)
    scale, rotation, shift = similarity(centres, true)
    assert np.abs(scale * centres @ rotation.T + shift - true).max() < 0.02
    assert min(check.confidence.values()) > 0.5


def _tracks(side):
    """Observations of a model as tracks; every point of the scene has one."""
    frame = np.concatenate([np.full(len(side.rows.of(k)), k) for k in range(8)])
    rows = np.concatenate([side.rows.of(k) for k in range(8)])
    order = np.lexsort((frame, side.track[rows]))
    rows, frame = rows[order], frame[order]
    ones = np.ones(len(rows), np.float32)
    return Tracks(side.track[rows], frame, side.xy[rows].astype(np.float32), ones, ones > 2)
