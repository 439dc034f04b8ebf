import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.structures import Model
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.render.vantage import splat
from dd_sfm.viz.render.viewpoints import Viewpoint
from dd_sfm.viz.report.clouds import CAMERA_WIDTH, camera_view

FRONT = Viewpoint(PinholeCamera(100, 80, 100.0, 100.0, 49.5, 39.5), np.eye(3, 4))


def test_a_point_lies_where_it_projects_to():
    picture = splat(np.array([[0.2, -0.1, 2.0]]), np.array([[255, 0, 0]], np.uint8), FRONT)
    rows, columns = np.nonzero((picture != 255).any(2))
    # 100 * 0.2 / 2 + 49.5, 100 * -0.1 / 2 + 39.5
    assert abs(columns.mean() - 59.5) < 0.6
    assert abs(rows.mean() - 34.5) < 0.6


def test_the_nearer_point_hides_the_further_one_whatever_the_order():
    xyz = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    rgb = np.array([[0, 200, 0], [200, 0, 0]], np.uint8)
    for order in ([0, 1], [1, 0]):
        assert (splat(xyz[order], rgb[order], FRONT)[40, 50] == [0, 200, 0]).all()


def test_points_behind_the_camera_and_no_points_at_all():
    assert (splat(np.array([[0, 0, -1.0]]), np.zeros((1, 3), np.uint8), FRONT) == 255).all()
    assert splat(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), FRONT).shape == (80, 100, 3)


def test_a_part_of_a_frame_of_a_camera_whose_pixels_are_not_square():
    camera, none = PinholeCamera(400, 300, 300.0, 360.0, 190.0, 160.0), np.zeros(0, np.int64)
    pose = np.eye(3, 4)
    xyz = np.array([[0.1, -0.2, 2.0], [0.3, 0.2, 1.5]])
    model = Model(
        camera, {5: pose}, xyz, np.zeros((2, 3), np.uint8), np.zeros(2), none, none, np.zeros((0, 2))
    )  # fmt: skip
    left, top, right, bottom = 80, 40, 320, 280
    view = camera_view(model, 5, (left, top, right, bottom))
    scale = CAMERA_WIDTH / (right - left)
    whole = project(xyz, camera, pose).xy
    assert (view.camera.width, view.camera.height) == (CAMERA_WIDTH, CAMERA_WIDTH)
    assert np.allclose(project(xyz, view.camera, view.cam_from_world).xy, (whole - [left, top] + 0.5) * scale - 0.5)
