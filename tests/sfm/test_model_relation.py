"""How two models lie to each other, by points of each that frames of the other see."""

import numpy as np
import pytest
from scene import CAMERA, camera_centres, make_scene
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import stack_poses, world_to_camera
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.sfm.model_relation import Sightings, View, relate

MAX_PX = 4.0
TRUE = Similarity(2.5, Rotation.from_rotvec([0.4, -0.9, 0.2]).as_matrix(), np.array([3.0, -1.0, 7.0]))
"""From the second model to the first one."""
FIRST, SECOND = range(0, 7), range(7, 14)


def views(frames=(FIRST, SECOND), wrong=0.1, noise_px=0.5, seed=0):
    """Both halves of a made-up path, the second in a world of its own, and what their frames see of each other."""
    rng = np.random.default_rng(seed)
    _, _, truth = make_scene(points=300)
    here = {k: pose for k, pose in truth.cam_from_world.items() if k in FIRST}
    there = TRUE.inverse().poses_by_frame({k: pose for k, pose in truth.cam_from_world.items() if k in SECOND})
    found = []
    for own, poses, others in ((frames[0], here, TRUE.inverse()), (frames[1], there, None)):
        rows = np.flatnonzero(np.isin(truth.frame, list(own)))
        xyz = truth.xyz[truth.point[rows]]
        depth = world_to_camera(xyz, stack_poses(truth.cam_from_world)[truth.frame[rows]])[:, 2]
        depth = depth * rng.normal(1, 0.02, len(rows)) / (1.0 if others else TRUE.scale)
        xy = truth.xy[rows] + rng.normal(0, noise_px, (len(rows), 2))
        bad = rng.random(len(rows)) < wrong
        xy[bad] = rng.uniform(0, 700, (bad.sum(), 2))
        xyz = xyz if others is None else others.points(xyz)
        found.append(View(poses, CAMERA, Sightings(truth.frame[rows], truth.point[rows], xyz, xy, depth)))
    return found, truth


def test_poses_and_points_move_alike():
    (_, second), truth = views()
    moved = TRUE.poses_by_frame(second.poses)
    assert np.allclose([moved[k] for k in SECOND], [truth.cam_from_world[k] for k in SECOND])
    assert np.allclose(TRUE.inverse().points(TRUE.points(truth.xyz)), truth.xyz)


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_models_that_see_each_others_points_are_related(wrong):
    (first, second), truth = views(wrong=wrong)
    found = relate(first, second, MAX_PX, seed=0)
    assert found.is_sure
    assert found.tells_scale
    assert found.frames == (7, 7)
    assert abs(np.log(found.transform.scale / TRUE.scale)) < 0.01
    assert 0.005 < found.sigma < 0.05
    moved, true = camera_centres(found.transform.poses_by_frame(second.poses)), camera_centres(truth.cam_from_world)[7:]
    assert np.abs(moved - true).max() < 0.02
    assert abs(found.agreeing[0].mean() - (1 - wrong)) < 0.05


def test_one_frame_joins_nothing_and_states_no_scale():
    (first, second), _ = views(frames=([3], []))
    found = relate(first, second, MAX_PX, seed=0)
    assert not found.is_sure
    assert not found.tells_scale
    assert abs(np.log(found.transform.scale / TRUE.scale)) < 2 * found.sigma
    assert found.sigma == pytest.approx(0.2)


def test_frames_that_contradict_each_other_join_nothing():
    (first, second), _ = views()
    # Each frame of the second model sees the first one's points as from another place.
    moved = second.seen.xyz + second.seen.frame[:, None] * np.array([0.8, -0.5, 0.3])
    seen = Sightings(second.seen.frame, second.seen.track, moved, second.seen.xy, second.seen.depth)
    alone = View(first.poses, CAMERA, first.seen.where(np.zeros(len(first.seen), bool)))
    found = relate(alone, View(second.poses, CAMERA, seen), MAX_PX, seed=0)
    assert found is None or not found.is_sure


def test_chance_relates_nothing():
    (first, second), _ = views(wrong=1.0)
    assert relate(first, second, MAX_PX, seed=0) is None
