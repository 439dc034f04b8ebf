from dataclasses import replace

import numpy as np
import pytest
from viewing import shown

from dd_sfm.errors import UsageError
from dd_sfm.viz.render.colours import RUN_RGB, UNKNOWN_RGB
from dd_sfm.viz.render.view_state import CLIP_SIDES, ViewState


@pytest.fixture
def state(tmp_path):
    return ViewState((shown(tmp_path),))


@pytest.fixture
def two(tmp_path):
    second = shown(tmp_path, label="other", points=300)
    return ViewState((shown(tmp_path), replace(second, xyz=second.xyz + np.array([0, 0, 1.0]))))


def test_everything_is_visible_at_first(state):
    assert state.visible(0).all()
    assert state.counts() == "400 of 400"


def test_filters_by_error_and_track(state):
    state.max_error_px = 1.0
    assert (state.visible(0) == (state.clouds[0].error_px <= 1.0)).all()
    state.min_track = 5
    assert (state.visible(0) == ((state.clouds[0].error_px <= 1.0) & (state.clouds[0].track_length >= 5))).all()
    assert state.reset() == "filters: none (400 of 400)"


def test_points_of_which_nothing_is_known_pass_the_filters(tmp_path):
    bare = replace(shown(tmp_path), error_px=np.full(400, np.nan), track_length=np.zeros(400, int))
    state = ViewState((bare,), max_error_px=0.1, max_uncertainty=0.1, min_track=5)
    assert state.visible(0).all()
    assert state.available_colours == ["photo"]
    assert state.step_filter("error") == "error: not known"


def test_the_error_filter_goes_by_shares_of_the_points_and_back(state):
    shares = []
    for _ in range(8):
        state.step_filter("error", 1)
        shares.append(state.visible(0).mean())
    assert shares == pytest.approx([0.95, 0.9, 0.8, 0.7, 0.5, 0.3, 0.3, 0.3], abs=0.01)
    for _ in range(8):
        said = state.step_filter("error", -1)
    assert said == "error: all"
    assert state.visible(0).all()


def test_the_track_filter_steps_and_stops(state):
    assert state.step_track() == "views: 3 or more (360 of 400)"
    assert state.step_track(-1) == "views: all"
    assert state.step_track(-1) == "views: all"


def test_filters_given_by_number_step_from_there(state):
    state.min_track, state.max_error_px = 6, 1.1
    assert state.step_track().startswith("views: 7 or more")
    state.step_filter("error")
    assert state.max_error_px == pytest.approx(1.0, abs=0.01)
    state.step_filter("error", -1)
    assert state.max_error_px == pytest.approx(1.4, abs=0.01)


def test_uncertainty_where_it_is_known(tmp_path):
    state = ViewState((replace(shown(tmp_path), uncertainty=np.linspace(0, 0.1, 400)),))
    assert "uncertainty" in state.available_colours
    state.set_colour("uncertainty")
    assert state.scale is not None
    assert state.scale.label == "expected relative error"
    state.step_filter("uncertainty")
    assert state.visible(0).sum() == 380


def test_the_clip_box_cuts_the_side_that_is_chosen(state):
    assert CLIP_SIDES[state.side] == "left"
    for _ in range(4):
        state.step_clip()
    x = state.clouds[0].xyz[:, 0]
    left = x < state.low[0] + 0.2 * (state.high[0] - state.low[0])
    assert (state.visible(0) == ~left).all()
    state.next_side()
    for _ in range(40):
        state.step_clip()
    # The sides do not meet: something stays between them.
    assert state.clip[0] + state.clip[1] == pytest.approx(0.95)
    for _ in range(40):
        state.step_clip(-1)
    assert (state.visible(0) == ~left).all()


def test_colours(state, two):
    assert state.colours(0) is state.clouds[0].rgb
    assert state.next_colour() == "colour: error (reprojection error [px] 0.04 to 1.96, blue to red)"
    assert state.next_colour() == "colour: tracks (views of a point 2 to 11, violet to yellow)"
    assert state.next_colour() == "colour: photo"
    assert [two.next_colour() for _ in range(3)][-1] == "colour: run"
    assert (two.colours(1) == RUN_RGB[1]).all()
    two.set_colour("error")
    error = two.colours(0).astype(int)
    assert np.abs(error[0] - error[-1]).sum() > 200


def test_an_unknown_error_is_grey(tmp_path):
    cloud = shown(tmp_path)
    cloud.error_px[7] = np.nan
    state = ViewState((cloud,), colour="error")
    assert state.colours(0)[7].tolist() == list(UNKNOWN_RGB)


def test_a_colour_that_is_not_there(state):
    with pytest.raises(UsageError, match="--colour beauty: unknown; expected one of photo, error"):
        state.set_colour("beauty")
    with pytest.raises(
        UsageError, match=r"--colour run: .*run has no such values; expected one of photo, error, tracks"
    ):
        state.set_colour("run")


def test_stepping_through_the_cameras(state):
    assert state.next_camera() == "camera: frame 10 (1 of 5)"
    assert state.next_camera(-1) == "camera: frame 14 (5 of 5)"
    assert state.next_camera() == "camera: frame 10 (1 of 5)"


def test_a_cloud_without_cameras_has_none_to_step_to(tmp_path):
    state = ViewState((replace(shown(tmp_path), images=(), cam_from_world=np.zeros((0, 3, 4))),))
    assert state.next_camera() == "camera: none, this is a cloud only"
    assert state.camera is None
    assert state.frustum_depth() == 0.0


def test_measuring(state):
    state.clouds[0].xyz[:2] = [[0, 0, 10], [3, 4, 10]]
    assert state.pick(0, 0) == "point 1: run 0 at (0, 0, 10)"
    assert state.measured() is None
    assert state.pick(0, 1).endswith("distance 5 scene units")
    state.mm_per_unit = 0.5
    assert state.measured().text(state.mm_per_unit) == "2.5 mm"
    state.pick(0, 3)
    assert state.picks == [(0, 3)]


def test_measuring_between_two_runs_does_not_count_the_gap_between_them(two):
    two.clouds[0].xyz[0], two.clouds[1].xyz[0] = [0, 0, 10], [0, 3, 10]
    two.beside = True
    two.pick(0, 0)
    assert two.pick(1, 0).endswith("distance 3 scene units")


def test_two_runs_beside_each_other_and_one_alone(two):
    assert two.offset(1).tolist() == [0, 0, 0]
    assert two.toggle("side_by_side") == "runs: side by side"
    moved = two.clouds[1].xyz + two.offset(1)
    assert moved[:, 0].min() > np.percentile(two.clouds[0].xyz[:, 0], 99)
    assert two.offset(0).tolist() == [0, 0, 0]
    assert [two.next_only() for _ in range(3)] == ["shown: run", "shown: other", "shown: all"]
    two.only = 1
    assert not two.visible(0).any()
    assert two.visible(1).all()


def test_both_runs_have_one_scale(two):
    two.set_colour("error")
    worst = max(c.error_px.max() for c in two.clouds)
    assert two.scale is not None
    assert two.scale.high == pytest.approx(0.98 * worst, rel=0.02)


def test_switches(state):
    assert state.toggle("cameras") == "cameras: off"
    assert state.toggle("thumbnails") == "thumbnails: off"
    assert state.step_size() == "point size: 1.25"
    assert state.step_size(-1) == "point size: 1.00"
