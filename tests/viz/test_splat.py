import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.viz.render.splat import MAX_RADIUS_PX, draw_points, project, rasterise, shade

CAMERA = PinholeCamera(40, 30, 20.0, 20.0, 20.0, 15.0)
POSE = np.eye(3, 4)


def draw(xyz, radius=0.0):
    xyz = np.array(xyz, float).reshape(-1, 3)
    return rasterise(project(xyz, CAMERA, POSE), CAMERA, np.broadcast_to(radius, len(xyz)).astype(float))


def test_a_point_is_one_pixel_where_it_projects():
    buffer = draw([[1.0, -0.5, 2.0]])
    assert np.argwhere(buffer.index == 0).tolist() == [[15 - 5, 20 + 10]]
    assert buffer.depth[10, 30] == pytest.approx(2.0)
    assert np.isinf(buffer.depth).sum() == 40 * 30 - 1


def test_the_nearer_point_is_in_front_whatever_the_order():
    for order in ([0, 1, 2], [2, 1, 0]):
        points = np.array([[0, 0, 3.0], [0, 0, 2.0], [0, 0, 5.0]])[order]
        assert order[draw(points).index[15, 20]] == 1


def test_a_splat_is_a_disc():
    rows, columns = np.mgrid[:30, :40]
    buffer = draw([[0, 0, 2.0]], 4.2)
    assert (buffer.index == 0).tolist() == (np.hypot(rows - 15, columns - 20) <= 4.2).tolist()


def test_each_point_has_its_own_radius():
    buffer = draw([[-1.0, 0, 2.0], [1.0, 0, 2.0]], np.array([0.0, 2.0]))
    assert np.bincount(buffer.index[buffer.index >= 0]).tolist() == [1, 13]


def test_splats_reach_into_the_picture_from_outside_and_end_at_its_border():
    buffer = draw([[-2.1, 0, 2.0], [1.95, 1.45, 2.0], [0, -1.5, 2.0]], 3.0)
    assert (buffer.index[:, 0] == 0).any()
    assert buffer.index[-1, -1] == 1
    assert buffer.index[0, 20] == 2
    assert (buffer.index[:, -1] == 0).sum() == 0


def test_points_behind_the_camera_and_no_points_show_nothing():
    assert (draw([[0, 0, -2.0], [0.1, 0, -3.0]], 3.0).index == -1).all()
    assert (draw(np.zeros((0, 3))).index == -1).all()


def test_radii_are_bounded():
    assert (draw([[0, 0, 2.0]], 1e6).index == 0).sum() == (draw([[0, 0, 2.0]], MAX_RADIUS_PX).index == 0).sum()


def test_many_points_give_the_same_as_one_at_a_time():
    rng = np.random.default_rng(0)
    xyz = rng.uniform([-3, -2, 1], [3, 2, 4], (300, 3))
    radius = rng.uniform(0, 5, 300)
    buffer = draw(xyz, radius)
    index, depth = np.full((30, 40), -1), np.full((30, 40), np.inf)
    rows, columns = np.mgrid[:30, :40]
    places = project(xyz, CAMERA, POSE)
    for k, (xy, z) in enumerate(zip(np.round(places.xy), places.depth, strict=True)):
        hit = (np.hypot(rows - xy[1], columns - xy[0]) <= radius[k]) & (z < depth)
        index[hit], depth[hit] = k, z
    assert (buffer.index == index).all()


def test_background_and_colours():
    picture = shade(draw([[0, 0, 2.0]]), np.array([[1, 2, 3]], np.uint8), (250, 251, 252))
    assert picture[15, 20].tolist() == [1, 2, 3]
    assert picture[0, 0].tolist() == [250, 251, 252]


def test_relief_darkens_what_lies_behind_and_leaves_a_plane_alone():
    x, y = np.meshgrid(np.arange(40), np.arange(30))
    depth = np.where(x < 20, 2.0, 3.0)
    xyz = np.stack([(x - 20) / 20 * depth, (y - 15) / 20 * depth, depth], -1).reshape(-1, 3)
    picture = shade(draw(xyz), np.full((1200, 3), 200, np.uint8), (0, 0, 0), relief=4.0)
    assert (picture[:, :18] == 200).all()
    assert (picture[5:-5, 20] < 180).all()
    assert (picture[:, 24:] == 200).all()


def test_a_scaled_camera_shows_the_same_place_in_the_middle():
    large = PinholeCamera(100, 50, 80.0, 80.0, 49.5, 24.5).fitted((300, 300))
    assert (large.fx, large.cx, large.cy) == (240.0, 149.5, 149.5)
    half = CAMERA.fitted((20, 15))
    # The centre of source pixel 20 is that of the picture, x' = (x + 0.5) s - 0.5.
    assert half.cx == pytest.approx(20.5 * 0.5 - 0.5)


def front_picture(xyz, rgb):
    return draw_points(xyz, rgb, PinholeCamera(100, 80, 100.0, 100.0, 49.5, 39.5), POSE)


def test_in_a_picture_a_point_lies_where_it_projects_to():
    picture = front_picture(np.array([[0.2, -0.1, 2.0]]), np.array([[255, 0, 0]], np.uint8))
    rows, columns = np.nonzero((picture != 255).any(2))
    # 100 * 0.2 / 2 + 49.5, 100 * -0.1 / 2 + 39.5
    assert abs(columns.mean() - 59.5) < 0.6
    assert abs(rows.mean() - 34.5) < 0.6


def test_in_a_picture_the_nearer_point_hides_the_further_one_whatever_the_order():
    xyz = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    rgb = np.array([[0, 200, 0], [200, 0, 0]], np.uint8)
    for order in ([0, 1], [1, 0]):
        assert (front_picture(xyz[order], rgb[order])[40, 50] == [0, 200, 0]).all()


def test_a_picture_of_points_behind_the_camera_and_of_no_points():
    assert (front_picture(np.array([[0, 0, -1.0]]), np.zeros((1, 3), np.uint8)) == 255).all()
    assert front_picture(np.zeros((0, 3)), np.zeros((0, 3), np.uint8)).shape == (80, 100, 3)
