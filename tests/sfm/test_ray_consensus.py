import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import pose_at, world_to_camera
from dd_sfm.sfm.ray_consensus import UNUSED, consistent_points, first_points

FOCAL = np.full(2, 500.0)


def scene(points=200, views=8, noise_px=0.0, seed=0):
    """Cameras along x that look along z at points 4 to 8 away; every camera sees every point."""
    rng = np.random.default_rng(seed)
    xyz = np.c_[rng.uniform(-2, 2, (points, 2)), rng.uniform(4, 8, points)]
    rotations = Rotation.from_rotvec(rng.normal(0, 0.05, (views, 3))).as_matrix()
    centres = np.c_[np.linspace(-1, 1, views), rng.normal(0, 0.1, (views, 2))]
    poses = pose_at(rotations, centres)
    starts, frame = np.arange(points + 1) * views, np.tile(np.arange(views), points)
    local = world_to_camera(np.repeat(xyz, views, 0), poses[frame])
    normalised = local[:, :2] / local[:, 2:] + rng.normal(0, noise_px / 500, (len(frame), 2))
    return starts, frame, normalised, poses, xyz


def test_exact_observations_give_exact_points_and_angles():
    starts, frame, normalised, poses, xyz = scene()
    points, cosine = first_points(starts, frame, normalised, poses, FOCAL, 4.0, 2.0, 4, 0)
    assert np.abs(points - xyz).max() < 1e-6
    centres = -np.einsum("nji,nj->ni", poses[:, :, :3], poses[:, :, 3])
    away = xyz[:, None] - centres
    away /= np.linalg.norm(away, axis=2, keepdims=True)
    assert np.einsum("pvk,pwk->pvw", away, away).min((1, 2)) == pytest.approx(cosine, abs=1e-3)


def test_noise_is_averaged():
    starts, frame, normalised, poses, xyz = scene(noise_px=0.5)
    few = starts[:-1, None] + np.array([0, 7])
    rough, _ = first_points(
        np.arange(201) * 2, frame[few.ravel()], normalised[few.ravel()], poses, FOCAL, 4.0, 2.0, 1, 0
    )
    fine, _ = first_points(starts, frame, normalised, poses, FOCAL, 4.0, 2.0, 4, 0)
    assert np.median(np.linalg.norm(fine - xyz, axis=1)) < 0.9 * np.median(np.linalg.norm(rough - xyz, axis=1))


def found(starts, frame, normalised, poses, least=3):
    """Points (2, T, 3), their owners and errors."""
    points = np.zeros((2, len(starts) - 1, 3))
    owner, error = np.full(len(frame), UNUSED, np.int8), np.zeros(len(frame))
    limits = 2.0, float(np.cos(np.radians(1.0))), least, 2, 0
    consistent_points(starts, frame, normalised, poses, FOCAL, *limits, points, owner, error)
    return points, owner, error


def test_a_third_of_wrong_observations_does_no_harm():
    starts, frame, normalised, poses, xyz = scene(noise_px=0.3)
    rng = np.random.default_rng(5)
    wrong = rng.random(len(frame)) < 0.3
    moved = normalised + np.where(wrong[:, None], rng.uniform(-0.3, 0.3, normalised.shape), 0)
    points, owner, error = found(starts, frame, moved, poses)
    assert (np.linalg.norm(points[0] - xyz, axis=1) < 0.1).mean() > 0.95
    assert (owner[~wrong] == 0).mean() > 0.95
    assert error.max() <= 2.0


def test_a_track_that_changes_its_point_holds_two():
    starts, frame, normalised, poses, xyz = scene(points=20)
    # The second half of every track shows the point of the next track.
    slid = np.where((frame >= 4)[:, None], np.roll(normalised, -8, 0), normalised)
    points, owner, _ = found(starts, frame, slid, poses)
    both = np.stack([xyz, np.roll(xyz, -1, 0)])
    first = np.linalg.norm(points[:, None] - both, axis=3)
    assert (first.min(1) < 1e-5).all()
    assert set(owner) == {0, 1}


def test_too_few_views_make_no_point():
    starts, frame, normalised, poses, _ = scene(points=5, views=3)
    _, owner, _ = found(starts, frame, normalised, poses, least=4)
    assert (owner == UNUSED).all()


def test_points_behind_the_cameras_are_dropped():
    starts, frame, normalised, poses, _ = scene(points=5)
    # Turned by half a turn about x, every camera would see its observations behind it.
    turned = np.diag([1.0, -1.0, -1.0]) @ poses
    _, owner, _ = found(starts, frame, normalised * [1, -1] * -1, turned)
    assert (owner == UNUSED).all()
