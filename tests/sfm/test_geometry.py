import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import pose_at, world_to_camera
from dd_sfm.sfm.geometry import (
    Rays,
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


def test_behind_the_camera_is_infinitely_wrong():
    rays, xyz = scene(points=3)
    assert np.isinf(reprojection_errors_px(rays, xyz - [0, 0, 100])).all()


def test_widest_angle_by_hand():
    track = np.zeros(3, np.int64)
    centres = np.array([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]])
    rays = Rays(track, pose_at(np.tile(np.eye(3), (3, 1, 1)), centres), np.zeros((3, 2)), np.ones(2))
    assert widest_angles_deg(rays, np.array([[0.0, 0, 1]])) == pytest.approx([90.0])


def test_similarity_is_recovered():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(30, 3))
    rotation = Rotation.from_rotvec([0.3, -0.5, 1.0]).as_matrix()
    scale, found, shift = similarity(source, 2.5 * source @ rotation.T + [1, 2, 3])
    assert scale == pytest.approx(2.5)
    assert found == pytest.approx(rotation)
    assert shift == pytest.approx([1, 2, 3])
