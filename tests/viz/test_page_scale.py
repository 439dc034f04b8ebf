"""The scale that is set in the page by a line of known length."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from converting import FIRST, write_dense_run
from viewing import shown

from dd_sfm.errors import ConfigError
from dd_sfm.io.metric import MEDIAN_SIGMA, MetricScale
from dd_sfm.registration.metric_scale import distance_text, find_scale
from dd_sfm.viz.browser.serve import served
from dd_sfm.viz.render.cloud_view import open_cloud_view
from dd_sfm.viz.render.view_state import ViewState

CLIENT = SimpleNamespace(camera=SimpleNamespace(fov=0.7, image_height=800))


@pytest.fixture
def state(tmp_path):
    return ViewState((shown(tmp_path),))


def pick(page, k, points):
    for point in points:
        page.pick(CLIENT, tuple(page.state.clouds[k].xyz[point] - [0, 0, 10.0]), (0.0, 0.0, 1.0))
    page.settle()


def enter(page, length):
    line = page.panel.measure.line_scale
    line.length.value = length
    line.set()
    page.settle()


def said(page):
    return page.panel.measure.line_scale._said.content


@pytest.mark.parametrize("size", [1e-7, 1.0, 1e5])
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_the_text_for_other_commands_gives_the_same_scale(size, far):
    first, second = np.array([0.3, -0.2, 4.1]) * size + far, np.array([0.7, 0.123456789, 3.9]) * size + far
    text = distance_text(12.5, first, second)
    assert text.startswith("12.5mm@")
    found = find_scale(text, lambda: pytest.fail("needs no reconstruction"))
    assert found.factor == pytest.approx(12.5 / np.linalg.norm(first - second), rel=1e-6)


@pytest.mark.parametrize("length", [0.0, -1.0, np.nan, np.inf])
def test_a_length_that_is_none_has_no_text(length):
    with pytest.raises(ConfigError, match="expected one above 0"):
        distance_text(length, np.zeros(3), np.ones(3))
    with pytest.raises(ConfigError, match="at the same place"):
        distance_text(1.0, np.ones(3), np.ones(3))


@pytest.mark.parametrize("before", [None, 0.25], ids=["no scale", "opened with --scale"])
def test_the_true_length_of_a_line_sets_the_scale(state, before):
    state.mm_per_unit = before
    with served(state, "front", port=0) as (page, _):
        line, (cloud,) = page.panel.measure.line_scale, state.clouds
        assert not line.length.visible
        assert ("0.25 mm" in said(page)) == (before is not None)
        pick(page, 0, (7, 100))
        assert line.length.visible
        assert line.button.visible
        enter(page, 12.5)
        distance = np.linalg.norm(cloud.xyz[7] - cloud.xyz[100])
        assert state.mm_per_unit == pytest.approx(12.5 / distance, rel=1e-6)
        assert "distance: 12.5 mm" in page.panel.measure._result.content
        (text,) = re.findall(r"--scale ([^<]+)<", said(page))
        assert text.startswith("12.5mm@")
        points = [np.array(point.split(","), float) for point in text.split("@")[1].split(":")]
        assert points == pytest.approx(np.array([cloud.xyz[7], cloud.xyz[100]]), rel=1e-5)


def test_no_length_is_told_in_one_line_and_changes_nothing(state):
    with served(state, "front", port=0) as (page, _):
        pick(page, 0, (7, 100))
        enter(page, 0.0)
        assert "true length 0 mm: expected one above 0" in said(page)
        assert "--scale" not in said(page)
        assert state.mm_per_unit is None
        assert "scene units" in page.panel.measure._result.content
        enter(page, 3.0)
        assert "expected" not in said(page)


def test_a_line_on_the_second_run_gives_no_scale(state, tmp_path):
    first = state.clouds[0]
    far = replace(shown(tmp_path, label="other"), xyz=first.xyz + np.array([30.0, 0, 0]))
    two = ViewState((first, far))
    with served(two, "front", port=0) as (page, _):
        pick(page, 1, (7, 100))
        assert two.picks == [(1, 7), (1, 100)]
        enter(page, 12.5)
        assert "Pick both points on the first run" in said(page)
        assert two.mm_per_unit is None


def test_depth_maps_are_in_mm_then(tmp_path):
    write_dense_run(tmp_path / "run")
    with served(ViewState((open_cloud_view(tmp_path / "run"),)), "front", port=0) as (page, _):
        frames = page.panel.frames
        frames.go(FIRST + 7, None)
        frames._kind.value = "depth"
        page.settle()
        assert "depth [scene units]" in frames._legend.content
        page.set_scale(MetricScale(2.0, "mm", "a factor"), "2")
        page.settle()
        assert "depth [mm]" in frames._legend.content


def test_the_error_of_the_scale_is_in_that_of_a_length(state):
    cloud = replace(state.clouds[0], error=np.full(len(state.clouds[0].xyz), 0.01))
    with served(ViewState((cloud,)), "front", port=0) as (page, _):
        pick(page, 0, (7, 100))
        length = np.linalg.norm(cloud.xyz[7] - cloud.xyz[100])
        for sigma in (0.0, 0.1):
            page.set_scale(MetricScale(2.0, "mm", "a factor", {"scale_sigma": sigma}), "2")
            page.settle()
            error = 2 * np.hypot(0.01 * np.sqrt(2), MEDIAN_SIGMA * sigma * length)
            assert f"{2 * length:.4g} ± {error:.2g} mm" in page.panel.measure._result.content


def test_the_line_that_set_the_scale_has_no_error_of_its_own(tmp_path):
    write_dense_run(tmp_path / "run", 0.02)
    with served(ViewState((open_cloud_view(tmp_path / "run"),)), "front", port=0) as (page, _):
        page.state.picks = [(0, 7), (0, 900)]
        enter(page, 12.5)
        result = page.panel.measure._result
        assert "distance: 12.5 mm<" in result.content
        assert "The scale was set by this length." in result.content
        assert "+- " in said(page)
        page.state.picks = [(0, 7), (0, 500)]
        page.ask("marks")
        page.settle()
        assert "±" in result.content.split("mm<")[0]
