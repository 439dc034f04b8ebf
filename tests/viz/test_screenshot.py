from dataclasses import replace

import numpy as np
import pytest
from viewing import shown

from dd_sfm.errors import InputError, UsageError
from dd_sfm.viz.render.colours import RUN_RGB
from dd_sfm.viz.render.labels import BACKGROUND_RGB, text_size
from dd_sfm.viz.render.screenshot import COLOUR_BAR_LINES, SCALE_BAR_LINES, render_screenshot
from dd_sfm.viz.render.view_state import ViewState


def inked(picture):
    return (np.abs(picture.astype(int) - BACKGROUND_RGB).max(2) > 30).mean()


@pytest.mark.parametrize("view", ["front", "top", "side", "oblique", "camera:11"])
def test_a_picture_of_the_size_with_something_in_it(tmp_path, view):
    picture = render_screenshot(ViewState((shown(tmp_path),)), view, 200, 140)
    assert picture.shape == (140, 200, 3)
    assert picture.dtype == np.uint8
    assert inked(picture) > 0.01
    assert picture[70, 0].tolist() == list(BACKGROUND_RGB)


def test_through_a_camera_a_point_is_where_it_projects(tmp_path):
    cloud = shown(tmp_path, points=3)
    cloud.xyz[:] = [[0.5, 0.0, 10.0], [30, 0, 10], [-30, 0, 10]]
    cloud.rgb[:] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    state = ViewState((cloud,), point_size=3.0)
    picture = render_screenshot(state, "camera:11", 160, 120)
    # The second camera stands at x = 0.5: the first point is straight ahead.
    assert picture[60, 80, 0] > 200
    assert picture[60, 80, 1:].max() < 60
    assert picture[60, 100].tolist() == list(BACKGROUND_RGB)


def test_filters_and_cameras_show(tmp_path):
    state = ViewState((shown(tmp_path),), cameras=False)
    full = inked(render_screenshot(state, "front", 200, 140))
    state.max_error_px = 0.3
    assert inked(render_screenshot(state, "front", 200, 140)) < 0.5 * full
    few = inked(render_screenshot(state, "front", 200, 140))
    state.cameras = True
    assert inked(render_screenshot(state, "front", 200, 140)) > few


def test_two_runs_have_a_panel_each_or_share_one(tmp_path):
    first, second = shown(tmp_path), shown(tmp_path, label="other", points=40)
    state = ViewState(
        (first, replace(second, xyz=second.xyz + np.array([0, 0, 0.1]))), side_by_side=True, cameras=False
    )
    state.set_colour("run")
    picture = render_screenshot(state, "front", 301, 140)
    assert picture.shape == (140, 301, 3)
    left, right = picture[30:, :150], picture[30:, 150:]
    assert inked(left) > 3 * inked(right)
    state.side_by_side = False
    state.point_size = 4.0
    shared = render_screenshot(state, "front", 300, 140)[30:].reshape(-1, 3).astype(int)
    for rgb in RUN_RGB:
        assert (np.abs(shared - rgb).max(1) < 30).any()


def test_colours_of_a_scale_come_with_the_scale(tmp_path):
    state = ViewState((shown(tmp_path),), cameras=False)
    plain = render_screenshot(state, "front", 400, 240)
    state.set_colour("error")
    scaled = render_screenshot(state, "front", 400, 240)
    corner = np.s_[190:, 280:]
    assert inked(scaled[corner]) > inked(plain[corner]) + 0.05


def test_a_filter_that_no_point_passes_is_told_with_what_would(tmp_path):
    cloud = shown(tmp_path)
    state = ViewState((cloud,), max_error_px=-1.0, min_track=1000)
    said = (
        rf"run: no point passes --max-error -1 \(the smallest is {cloud.error_px.min():.3g} px\) and --min-track 1000 "
        rf"\(the longest has {cloud.track_length.max()}\); expected at least one"
    )
    with pytest.raises(InputError, match=said):
        render_screenshot(state, "front", 200, 140)
    # A point of one run is enough: the other's panel then says 0.
    other = shown(tmp_path, label="other")
    state = ViewState((replace(cloud, error_px=cloud.error_px + 9), other), side_by_side=True, max_error_px=5.0)
    assert render_screenshot(state, "front", 200, 140).shape == (140, 200, 3)


def dark(picture):
    """Where there are letters or a bar: TEXT_RGB, roughly."""
    return picture.astype(int).max(2) < 90


@pytest.mark.parametrize("mm_per_unit", [None, 0.7])
def test_a_bar_is_as_long_as_it_says(tmp_path, mm_per_unit):
    cloud = shown(tmp_path, points=300)
    # A wall 10 units away, 8 units wide: its red rims tell the scale.
    rng = np.random.default_rng(0)
    cloud.xyz[:] = np.column_stack([np.tile([-4.0, 4.0], 150), rng.uniform(-4, 4, 300), np.full(300, 10.0)])
    cloud.rgb[:] = [255, 0, 0]
    state = ViewState((cloud,), mm_per_unit=mm_per_unit, cameras=False)
    picture = render_screenshot(state, "front", 600, 500)
    columns = np.nonzero((picture[..., 0] > 200) & (picture[..., 1] < 60))[1]
    unit_px = (np.median(columns[columns > 300]) - np.median(columns[columns < 300])) / 8 / (mm_per_unit or 1.0)
    bar = dark(picture[-40:, :300]).sum(1).max()
    lengths = np.array([1, 2, 5, 10])
    assert np.abs(bar - lengths * unit_px).min() < 3
    assert bar < 0.26 * 600


def test_columns_and_scale_have_room_of_their_own(tmp_path):
    state = ViewState((shown(tmp_path), shown(tmp_path, label="other")), side_by_side=True, cameras=False)
    state.set_colour("error")
    state.point_size = 8.0
    picture = render_screenshot(state, "front,top,side", 600, 400)
    assert picture.shape == (400, 600, 3)
    size = max(text_size(400) - 5, 10)
    for column in range(3):
        # A name above, and nothing else in the strip: no colour.
        strip = picture[: 2 * size, 200 * column : 200 * (column + 1)].astype(int)
        assert dark(strip).any()
        assert np.ptp(strip, axis=2).max() < 30
    foot = picture[400 - COLOUR_BAR_LINES * size :]
    assert inked(foot[:, 330:]) > 0.02
    assert inked(foot[:, :300]) == 0


def test_labels_of_two_clouds_stand_below_each_other_where_it_is_narrow(tmp_path):
    first, second = shown(tmp_path, label="a" * 20), shown(tmp_path, label="b" * 20)
    state = ViewState((first, second), cameras=False)
    state.set_colour("run")
    state.point_size = 0.1
    narrow, wide = (render_screenshot(state, "front", width, 200) for width in (260, 1200))

    def rows(picture, rgb):
        return np.flatnonzero((np.abs(picture[:50].astype(int) - rgb).max(2) < 20).any(1))

    assert rows(narrow, RUN_RGB[0]).max() < rows(narrow, RUN_RGB[1]).min()
    assert rows(wide, RUN_RGB[1]).min() < rows(wide, RUN_RGB[0]).max()


def test_a_picture_is_the_same_every_time(tmp_path):
    first, again = (render_screenshot(ViewState((shown(tmp_path),)), "oblique", 120, 90) for _ in range(2))
    assert (first == again).all()


def test_several_views_stand_beside_each_other_and_two_runs_below(tmp_path):
    first, second = shown(tmp_path), shown(tmp_path, label="other", points=40)
    one = render_screenshot(ViewState((first,)), "front, side", 300, 140)
    assert one.shape == (140, 300, 3)
    assert inked(one[30:, :150]) > 0.005
    assert inked(one[30:, 150:]) > 0.005
    both = render_screenshot(ViewState((first, second), side_by_side=True, cameras=False), "front,side,top", 301, 203)
    assert both.shape == (203, 301, 3)
    upper, lower = both[:101, :100], both[101:, :100]
    assert inked(upper[30:]) > 3 * inked(lower[30:])


def test_outlines_of_cameras_never_stand_before_the_cloud(tmp_path):
    cloud = shown(tmp_path, points=3)
    cloud.xyz[:] = [[-4, -4, 10], [6, 4, 10], [1, 0, 14]]
    with_and_without = [
        [inked(render_screenshot(ViewState((cloud,), cameras=on), view, 300, 200)) for on in (True, False)]
        for view in ("front", "side")
    ]
    shares = [on - off for on, off in with_and_without]
    # Only the path.
    assert 0 < shares[0] < 0.01
    assert shares[1] > 0


@pytest.mark.parametrize("colour", ["photo", "error"])
@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("view", ["front", "camera:11", "front,side,top"])
def test_the_least_size_that_is_said_is_one_that_works(tmp_path, view, side_by_side, colour):
    state = ViewState((shown(tmp_path), shown(tmp_path, label="other" * 9)), side_by_side=side_by_side)
    state.set_colour(colour)
    with pytest.raises(UsageError, match=r"--size 16x16: too small .* expected at least \d+x\d+$") as refused:
        render_screenshot(state, view, 16, 16)
    width, height = map(int, str(refused.value).split()[-1].split("x"))
    assert render_screenshot(state, view, width, height).shape == (height, width, 3)
    for less in ((width - 1, height), (width, height - 1)):
        with pytest.raises(UsageError, match="too small"):
            render_screenshot(state, view, *less)


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_a_filter_of_errors_that_nobody_knows_is_told_too(tmp_path, error):
    cloud = shown(tmp_path)
    state = ViewState((replace(cloud, error_px=np.full(len(cloud.xyz), error)),), max_error_px=1.0, min_track=1000)
    with pytest.raises(InputError, match=r"--max-error 1 \(no point has a finite one\) and --min-track 1000"):
        render_screenshot(state, "front", 200, 140)


def test_labels_of_several_views_cover_no_point(tmp_path):
    clouds = []
    for label in ("a" * 15, "b" * 15):
        cloud = shown(tmp_path, label=label, points=6000)
        cloud.rgb[:] = [255, 0, 0]
        clouds.append(cloud)
    state = ViewState(tuple(clouds), side_by_side=True, cameras=False, point_size=6.0)
    size = max(text_size(500) - 5, 10)
    picture = render_screenshot(state, "front,top,side", 900, 500).astype(int)
    middle = 2 * size + (500 - 2 * size) // 2
    for top, bottom in ((2 * size, middle), (middle, 500)):
        # Names above and bars below, and no point in the same rows.
        for strip in (picture[top : top + round(1.8 * size)], picture[bottom - SCALE_BAR_LINES * size : bottom]):
            assert dark(strip).any()
            assert np.ptp(strip, axis=2).max() < 30
        assert (np.ptp(picture[top:bottom, :300], axis=2) > 100).any()
