import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.viz.render.orbit import Orbit, orbit_from_viewpoint, point_at
from dd_sfm.viz.render.splat import Projected, project
from dd_sfm.viz.render.viewpoints import Viewpoint

CAMERA = PinholeCamera(400, 300, 300.0, 300.0, 199.5, 149.5)
START = Orbit(CAMERA, np.eye(3), np.array([1.0, 2.0, 3.0]), 5.0)


def seen(orbit, point):
    view = orbit.viewpoint
    places = project(np.array([point], float), view.camera, view.cam_from_world)
    return places.xy[0], places.depth[0]


def test_the_pivot_is_in_the_middle_and_stays_there():
    for orbit in (START, START.turned(40, -25), START.rolled(30), START.turned(3, 4).zoomed(2)):
        xy, depth = seen(orbit, START.pivot)
        assert xy == pytest.approx([199.5, 149.5])
        assert depth == pytest.approx(orbit.distance)


def test_what_is_near_follows_the_pointer():
    near = START.pivot - [0, 0, 1.0]
    xy, _ = seen(START.turned(10, 5), near)
    assert xy[0] > 199.5
    assert xy[1] > 149.5
    assert seen(START.rolled(10), START.pivot + np.array([1.0, 0, 0]))[0][1] > 149.5


def test_a_shift_moves_the_pivot_by_the_pixels_dragged():
    xy, _ = seen(START.turned(30, 10).shifted(12, -7), START.pivot)
    assert xy == pytest.approx([199.5 + 12, 149.5 - 7])


def test_zooming_out_takes_zooming_in_back():
    assert START.zoomed(1).distance < START.distance
    assert START.zoomed(3).zoomed(-3).distance == pytest.approx(START.distance)


def test_many_turns_stay_a_rotation():
    orbit = START
    for _ in range(500):
        orbit = orbit.turned(3, 1).rolled(0.5)
    assert orbit.axes @ orbit.axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(orbit.axes) == pytest.approx(1)


def test_a_resized_window_keeps_the_height():
    orbit = START.resized(800, 600)
    assert seen(orbit, START.pivot + np.array([0, 1.0, 0]))[0][1] == pytest.approx(299.5 + 2 * 60)
    assert (orbit.camera.width, orbit.camera.height) == (800, 600)


def test_an_orbit_starts_at_its_viewpoint():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 6], [1, 1, 8], (200, 3))
    pose = START.turned(10, 10).viewpoint.cam_from_world
    orbit = orbit_from_viewpoint(Viewpoint(CAMERA, pose), points)
    assert orbit.viewpoint.cam_from_world == pytest.approx(pose)


def test_picking_takes_the_nearest_to_the_viewer_within_reach():
    places = Projected(
        np.array([[50, 50], [52, 50], [51, 53], [90, 90], [np.nan, np.nan]]), np.array([3.0, 2.0, 4.0, 1.0, -1.0])
    )
    assert point_at(places, 50, 50) == 1
    assert point_at(places, 92, 90) == 3
    assert point_at(places, 10, 10) is None
