from dataclasses import replace

import numpy as np
import pytest

from dd_sfm.cameras import (
    PinholeCamera,
    camera_centres,
    camera_to_world,
    inverse_pose,
    pose_at,
    relative_pose,
    rotation_angles_deg,
    stack_poses,
    world_to_camera,
)
from dd_sfm.errors import ShapeError

CAMERA = PinholeCamera(40, 30, 20.0, 10.0, 19.5, 14.5)
QUARTER_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
"""About the direction of view: right becomes down."""


def turn_about_y(angle_deg):
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def random_poses(count):
    rng = np.random.default_rng(1)
    rotations = np.stack([turn_about_y(a) @ QUARTER_TURN for a in rng.uniform(-60, 60, count)])
    return pose_at(rotations, rng.normal(size=(count, 3)))


def test_a_point_ahead_is_at_the_principal_point_and_others_move_by_the_focal_length():
    xy, depth = CAMERA.project(np.array([[0.0, 0, 5], [1, 0, 2], [0, 1, 2]]))
    assert xy.tolist() == [[19.5, 14.5], [29.5, 14.5], [19.5, 19.5]]
    assert depth.tolist() == [5, 2, 2]
    assert CAMERA.focal.tolist() == [20, 10]
    assert CAMERA.principal_point.tolist() == [19.5, 14.5]
    assert CAMERA.size == (40, 30)


def test_points_in_the_plane_of_the_camera_and_behind_it_have_no_pixel():
    xy, depth = CAMERA.project(np.array([[0.0, 0, 1], [1, 1, 0], [1, 1, -2]]))
    assert np.isnan(xy).tolist() == [[False, False], [True, True], [True, True]]
    assert depth.tolist() == [1, 0, -2]


def test_no_points_are_projected_to_no_pixels():
    xy, depth = CAMERA.project(np.zeros((0, 3)))
    assert (xy.shape, depth.shape) == ((0, 2), (0,))
    assert CAMERA.unproject(np.zeros((0, 2))).shape == (0, 3)


def test_projecting_undoes_unprojecting():
    xy = np.array([[[0.0, 0], [39, 29]], [[19.5, 14.5], [-7, 3.25]]])
    depth = np.array([[1.0, 2], [3, 0.5]])
    points = CAMERA.unproject(xy, depth)
    assert points[0, 0] == pytest.approx([-19.5 / 20, -14.5 / 10, 1])
    found, far = CAMERA.project(points)
    assert found == pytest.approx(xy)
    assert far == pytest.approx(depth)
    assert CAMERA.unproject(xy, 2.0) == pytest.approx(2 * CAMERA.unproject(xy))
    assert CAMERA.denormalise(CAMERA.normalise(xy)) == pytest.approx(xy)


def test_the_matrix_projects_as_the_camera_does():
    points = np.array([[0.3, -0.2, 1.5], [1, 2, 4]])
    flat = points @ CAMERA.matrix.T
    assert CAMERA.project(points)[0] == pytest.approx(flat[:, :2] / flat[:, 2:])
    assert PinholeCamera.from_matrix(CAMERA.matrix, (40, 30)) == CAMERA


def test_single_precision_pixels_give_double_precision_rays():
    assert CAMERA.normalise(np.zeros((2, 2), np.float32)).dtype == np.float64


@pytest.mark.parametrize("scale", [0.5, 2.0, 0.37])
def test_a_scaled_camera_projects_to_where_resizing_puts_the_pixels(scale):
    points = np.array([[0.3, -0.2, 1.5], [1, 2, 4]])
    whole, part = CAMERA.project(points)[0], CAMERA.scaled(scale).project(points)[0]
    assert part == pytest.approx((whole + 0.5) * scale - 0.5)
    assert CAMERA.scaled(scale).size == (round(40 * scale), round(30 * scale))


def test_half_the_size_by_hand():
    half = CAMERA.scaled(0.5)
    assert (half.fx, half.fy, half.cx, half.cy) == (10, 5, 9.5, 7)


def test_a_guess_stays_a_guess():
    guess = replace(CAMERA, is_guess=True)
    assert guess.scaled(0.5).is_guess
    assert guess.cropped((1, 2), (10, 10)).is_guess


def test_a_cropped_camera_counts_pixels_from_its_corner():
    points = np.array([[0.3, -0.2, 1.5], [1, 2, 4]])
    part = CAMERA.cropped((4, 7), (20, 10))
    assert part.size == (20, 10)
    assert part.project(points)[0] == pytest.approx(CAMERA.project(points)[0] - [4, 7])


def test_a_fitted_camera_keeps_the_middle_in_the_middle():
    wide = PinholeCamera(100, 50, 80.0, 80.0, 49.5, 24.5).fitted((300, 300))
    assert (wide.fx, wide.cx, wide.cy) == (240, 149.5, 149.5)
    assert wide.size == (300, 300)


def test_a_camera_stands_at_its_centre_and_sees_it_at_its_own_origin():
    pose = pose_at(QUARTER_TURN, np.array([1.0, 2, 3]))
    assert pose[:, 3].tolist() == [2, -1, -3]
    assert camera_centres(pose).tolist() == [1, 2, 3]
    assert world_to_camera(np.array([[1.0, 2, 3], [2, 2, 3]]), pose).tolist() == [[0, 0, 0], [0, 1, 0]]


def test_many_cameras_have_the_centres_that_each_has():
    poses = random_poses(5)
    assert camera_centres(poses) == pytest.approx(np.array([camera_centres(p) for p in poses]), abs=1e-15)
    assert camera_centres(poses[None]).shape == (1, 5, 3)


def test_into_the_camera_and_back():
    points = np.random.default_rng(0).normal(size=(6, 3))
    pose = random_poses(1)[0]
    assert camera_to_world(world_to_camera(points, pose), pose) == pytest.approx(points)
    assert world_to_camera(points, inverse_pose(pose)) == pytest.approx(camera_to_world(points, pose))


def test_a_camera_for_each_point():
    points, poses = np.random.default_rng(0).normal(size=(4, 3)), random_poses(4)
    one_by_one = np.concatenate([world_to_camera(x[None], p) for x, p in zip(points, poses, strict=True)])
    assert world_to_camera(points, poses) == pytest.approx(one_by_one)


def test_the_relative_pose_leads_from_the_second_camera_to_the_first():
    points, (first, second) = np.random.default_rng(0).normal(size=(4, 3)), random_poses(2)
    moved = world_to_camera(world_to_camera(points, second), relative_pose(first, second))
    assert moved == pytest.approx(world_to_camera(points, first))
    assert relative_pose(first, first) == pytest.approx(np.eye(3, 4), abs=1e-12)


def test_angles_of_rotations():
    angles = [0, 1e-6, 0.5, 90, 179.999, 180]
    found = rotation_angles_deg(np.stack([turn_about_y(a) for a in angles]))
    assert found == pytest.approx(angles, rel=1e-6, abs=1e-12)
    assert rotation_angles_deg(QUARTER_TURN) == pytest.approx(90)


def test_poses_by_position_in_a_table():
    first, second = random_poses(2)
    table = stack_poses({3: second, 1: first})
    assert table.shape == (4, 3, 4)
    assert (table[1] == first).all()
    assert (table[3] == second).all()
    assert not table[[0, 2]].any()
    assert stack_poses({}).shape == (1, 3, 4)


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match=r"points_cam \(4, 2\); expected \(\.\.\., 3\)"):
        CAMERA.project(np.zeros((4, 2)))
    with pytest.raises(ShapeError, match=r"xy \(3,\); expected \(\.\.\., 2\)"):
        CAMERA.normalise(np.zeros(3))
    with pytest.raises(ShapeError, match=r"poses \(4, 4\); expected \(\.\.\., 3, 4\)"):
        camera_centres(np.eye(4))
    with pytest.raises(ShapeError, match=r"matrix \(2, 2\); expected \(3, 3\)"):
        PinholeCamera.from_matrix(np.eye(2), (4, 4))
