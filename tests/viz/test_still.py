from dataclasses import replace

import numpy as np
import pytest
from viewing import shown

from dd_sfm.viz.colours import RUN_RGB
from dd_sfm.viz.labels import PAPER
from dd_sfm.viz.still import render_still
from dd_sfm.viz.view_state import ViewState


def inked(picture):
    return (np.abs(picture.astype(int) - PAPER).max(2) > 30).mean()


@pytest.mark.parametrize("view", ["front", "top", "side", "oblique", "camera:11"])
def test_a_picture_of_the_size_with_something_in_it(tmp_path, view):
    picture = render_still(ViewState((shown(tmp_path),)), view, 200, 140)
    assert picture.shape == (140, 200, 3)
    assert picture.dtype == np.uint8
    assert inked(picture) > 0.01
    assert picture[70, 0].tolist() == list(PAPER)


def test_through_a_camera_a_point_is_where_it_projects(tmp_path):
    cloud = shown(tmp_path, points=3)
    cloud.xyz[:] = [[0.5, 0.0, 10.0], [30, 0, 10], [-30, 0, 10]]
    cloud.rgb[:] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    state = ViewState((cloud,), point_size=3.0)
    picture = render_still(state, "camera:11", 160, 120)
    # The second camera stands at x = 0.5: the first point is straight ahead.
    assert picture[60, 80, 0] > 200
    assert picture[60, 80, 1:].max() < 60
    assert picture[60, 100].tolist() == list(PAPER)


def test_filters_and_cameras_show(tmp_path):
    state = ViewState((shown(tmp_path),), cameras=False)
    full = inked(render_still(state, "front", 200, 140))
    state.max_error_px = 0.3
    assert inked(render_still(state, "front", 200, 140)) < 0.5 * full
    state.max_error_px = -1.0
    nothing = inked(render_still(state, "front", 200, 140))
    state.cameras = True
    assert inked(render_still(state, "front", 200, 140)) > nothing


def test_two_runs_have_a_panel_each_or_share_one(tmp_path):
    first, second = shown(tmp_path), shown(tmp_path, label="other", points=40)
    state = ViewState((first, replace(second, xyz=second.xyz + np.array([0, 0, 0.1]))), beside=True, cameras=False)
    state.set_colour("run")
    picture = render_still(state, "front", 301, 140)
    assert picture.shape == (140, 301, 3)
    left, right = picture[30:, :150], picture[30:, 150:]
    assert inked(left) > 3 * inked(right)
    state.beside = False
    state.point_size = 4.0
    shared = render_still(state, "front", 300, 140)[30:].reshape(-1, 3).astype(int)
    for rgb in RUN_RGB:
        assert (np.abs(shared - rgb).max(1) < 30).any()


def test_colours_of_a_scale_come_with_the_scale(tmp_path):
    state = ViewState((shown(tmp_path),), cameras=False)
    plain = render_still(state, "front", 400, 240)
    state.set_colour("error")
    scaled = render_still(state, "front", 400, 240)
    corner = np.s_[190:, 280:]
    assert inked(scaled[corner]) > inked(plain[corner]) + 0.05


def test_a_picture_is_the_same_every_time(tmp_path):
    first, again = (render_still(ViewState((shown(tmp_path),)), "oblique", 120, 90) for _ in range(2))
    assert (first == again).all()


def test_several_views_stand_beside_each_other_and_two_runs_below(tmp_path):
    first, second = shown(tmp_path), shown(tmp_path, label="other", points=40)
    one = render_still(ViewState((first,)), "front, side", 300, 140)
    assert one.shape == (140, 300, 3)
    assert inked(one[30:, :150]) > 0.005
    assert inked(one[30:, 150:]) > 0.005
    both = render_still(ViewState((first, second), beside=True, cameras=False), "front,side,top", 301, 203)
    assert both.shape == (203, 301, 3)
    upper, lower = both[:101, :100], both[101:, :100]
    assert inked(upper[30:]) > 3 * inked(lower[30:])


def test_outlines_of_cameras_never_stand_before_the_cloud(tmp_path):
    cloud = shown(tmp_path, points=3)
    cloud.xyz[:] = [[-4, -4, 10], [6, 4, 10], [1, 0, 14]]
    with_and_without = [
        [inked(render_still(ViewState((cloud,), cameras=on), view, 300, 200)) for on in (True, False)]
        for view in ("front", "side")
    ]
    shares = [on - off for on, off in with_and_without]
    # Only the path.
    assert 0 < shares[0] < 0.01
    assert shares[1] > 0
