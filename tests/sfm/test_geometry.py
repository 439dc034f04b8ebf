import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import pose_at, world_to_camera
from dd_sfm.sfm.geometry import (
    Rays,
    consensus_points,
    midpoints,
    refine_points,
    reprojection_errors_px,
    similarity,
    widest_angles_deg,
)


def scene(points=200, views=8, noise_px=0.0, seed=0):
    """Cameras along x that look along z at points 4 to 8 away; every camera sees every point."""
    rng = np.random.default_rng(seed)
    xyz = np.c_[rng.uniform(-2, 2, (points, 2)), rng.uniform(4, 8, points)]
    rotations = Rotation.from_rotvec(rng.normal(0, 0.05, (views, 3))).as_matrix()
    centres = np.c_[np.linspace(-1, 1, views), rng.normal(0, 0.1, (views, 2))]
    track = np.repeat(np.arange(points), views)
    poses = pose_at(rotations, centres)[np.tile(np.arange(views), points)]
    local = world_to_camera(xyz[track], poses)
    normalised = local[:, :2] / local[:, 2:] + rng.normal(0, noise_px / 500, (len(track), 2))
    return Rays(track, poses, normalised, np.full(2, 500.0)), xyz


def test_exact_observations_give_exact_points():
    rays, xyz = scene()
    points = consensus_points(rays, threshold_px=4, hypotheses=4, rng=np.random.default_rng(0))
    assert np.abs(points - xyz).max() < 1e-6
    assert reprojection_errors_px(rays, points).max() < 1e-4


def test_noise_is_averaged_by_refinement():
    rays, xyz = scene(noise_px=0.5)
    rough = consensus_points(rays, threshold_px=4, hypotheses=1, rng=np.random.default_rng(0))
    fine = refine_points(rays, rough, scale_px=2.0)
    assert np.median(np.linalg.norm(fine - xyz, axis=1)) < 0.9 * np.median(np.linalg.norm(rough - xyz, axis=1))


def test_a_third_of_wrong_observations_does_no_harm():
    rays, xyz = scene(noise_px=0.3)
    rng = np.random.default_rng(5)
    wrong = rng.random(len(rays.track)) < 0.3
    moved = rays.normalised + np.where(wrong[:, None], rng.uniform(-0.3, 0.3, rays.normalised.shape), 0)
    spoilt = Rays(rays.track, rays.cam_from_world, moved, rays.focal_px)
    points = consensus_points(spoilt, threshold_px=4, hypotheses=20, rng=rng)
    points = refine_points(spoilt, points, scale_px=1.0)
    assert (np.linalg.norm(points - xyz, axis=1) < 0.1).mean() > 0.97


def test_behind_the_camera_is_infinitely_wrong():
    rays, xyz = scene(points=3)
    assert np.isinf(reprojection_errors_px(rays, xyz - [0, 0, 100])).all()


def test_midpoint_by_hand():
    found = midpoints(
        np.array([[0.0, 0, 0]]),
        np.array([[0.0, 0, 1]]),
        np.array([[1.0, 0.2, 0]]),
        np.array([[-1.0, 0, 1]]) / np.sqrt(2),
    )
    assert found[0] == pytest.approx([0.0, 0.1, 1.0])


def test_widest_angle_by_hand():
    track = np.zeros(3, np.int64)
    centres = np.array([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]])
    rays = Rays(track, pose_at(np.tile(np.eye(3), (3, 1, 1)), centres), np.zeros((3, 2)), np.ones(2))
    assert widest_angles_deg(rays, np.array([[0.0, 0, 1]])) == pytest.approx([90.0])


def test_renumbering_after_a_mask():
    rays, _ = scene(points=4, views=3)
    kept, old = rays.take(rays.track != 1)
    assert old.tolist() == [0, 2, 3]
    assert kept.track.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert kept.starts.tolist() == [0, 3, 6]


def test_similarity_is_recovered():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(30, 3))
    rotation = Rotation.from_rotvec([0.3, -0.5, 1.0]).as_matrix()
    scale, found, shift = similarity(source, 2.5 * source @ rotation.T + [1, 2, 3])
    assert scale == pytest.approx(2.5)
    assert found == pytest.approx(rotation)
    assert shift == pytest.approx([1, 2, 3])
