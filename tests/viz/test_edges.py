"""Edges of an instrument that are picked in the picture of a frame, and the scale by them, without a browser."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from converting import FIRST, write_dense_run

from dd_sfm.cameras import PinholeCamera, pose_at
from dd_sfm.errors import ConfigError
from dd_sfm.io.scene import open_scene
from dd_sfm.registration.metric_scale import find_scale
from dd_sfm.registration.seen_scale import tool_text
from dd_sfm.viz.browser.picture_plane import PicturePlane
from dd_sfm.viz.browser.serve import served
from dd_sfm.viz.render.cloud_view import open_cloud_view
from dd_sfm.viz.render.view_state import ViewState

CAMERA = PinholeCamera(640, 480, 520.0, 500.0, 250.0, 300.0)
TURN = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
PLANE = PicturePlane(CAMERA, pose_at(TURN, np.array([1.0, 2.0, 3.0])), 0.5)
FRAME, OTHER = FIRST + 7, FIRST + 8
EDGES = np.array([[70.0, 50.0], [95.0, 66.0]])
FORWARD = TURN[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edges") / "run"
    write_dense_run(folder)
    return folder


@pytest.fixture
def page(run):
    with served(ViewState((open_cloud_view(run),)), "front", port=0) as (page, _):
        page.panel.frames.go(FRAME, None)
        yield page
        page.settle()


def click(page, edges):
    """Click at pixels of the picture that is shown; the browser need not look from the camera itself."""
    plane = page.panel.frames.edges.plane
    client = SimpleNamespace(camera=SimpleNamespace(fov=0.7, image_height=800))
    for place in plane.places(edges):
        origin = place + np.array([0.3, 0.2, -0.4])
        page.pick(client, tuple(origin), tuple(place - origin))


def switch(page, is_on):
    page.panel.frames.edges.switch.value = is_on
    page.settle()
    return page.panel.frames.edges


def test_the_corners_of_the_picture_are_those_of_the_field_of_view():
    corners = PLANE.places(np.array([[-0.5, -0.5], [639.5, 479.5]])) @ TURN.T
    width, height = PLANE.size
    assert corners[1] - corners[0] == pytest.approx([width, height, 0])
    assert PLANE.centre @ TURN.T == pytest.approx(corners.mean(0))


def test_a_ray_gives_the_pixel_that_it_meets():
    xy = np.array([[0.0, 0.0], [639.0, 479.0], [100.25, 410.5]])
    for pixel, place in zip(xy, PLANE.places(xy), strict=True):
        origin = np.array([1.1, 1.9, 3.05])
        assert PLANE.pixel(origin, 3 * (place - origin)) == pytest.approx(pixel)
        assert PLANE.pixel(origin, origin - place) is None
    outside = PLANE.places(np.array([[-2.0, 10.0]]))[0]
    assert PLANE.pixel(np.zeros(3), outside) is None
    assert PLANE.pixel(np.zeros(3), TURN[0]) is None


@pytest.mark.parametrize("aspect", [0.5, 1.0, 3.0])
def test_the_view_shows_all_of_the_picture(aspect):
    centre, target, up, fov = PLANE.view(aspect)
    assert centre == pytest.approx([1, 2, 3])
    assert (target - centre) / np.linalg.norm(target - centre) == pytest.approx(FORWARD)
    assert up == pytest.approx(-TURN[1])
    corners = CAMERA.normalise(np.array([[-0.5, -0.5], [639.5, 479.5]]))
    seen = np.abs(corners / (np.tan(fov / 2) * np.array([aspect, 1])))
    assert 0.95 < seen.max() < 1


def test_picks_become_the_text_of_the_scale_and_set_it(page, run):
    edges = switch(page, True)
    assert edges.is_on
    assert not page.nodes._clouds[0].visible
    assert "Click one edge" in edges._said.content
    assert "switch that off in Frames" in page.panel.measure._result.content
    click(page, EDGES)
    assert np.array(edges.edges) == pytest.approx(EDGES)
    assert "29.7 pixels apart" in edges._said.content
    assert "Enter the diameter." in edges._said.content
    edges.diameter.value = 5.0
    (text,) = re.findall(r"--scale ([^<]+)<", edges._said.content)
    assert text == f"tool:{FRAME}:70.0,50.0,95.0,66.0:5mm"
    edges.set()
    found = find_scale(text, lambda: open_scene(run))
    assert page.state.mm_per_unit == pytest.approx(found.factor)
    assert found.notes[0].split(":")[0] in edges._said.content
    assert text in page.panel.measure.line_scale._said.content


def test_a_refusal_is_one_line(page):
    edges = switch(page, True)
    click(page, EDGES[:1])
    edges.set()
    assert "edges picked: 1; expected two" in edges._said.content
    click(page, EDGES[:1] + 0.5)
    edges.set()
    assert "diameter 0 mm: expected one above 0" in edges._said.content
    edges.diameter.value = 5.0
    edges.set()
    assert "two edges some pixels apart" in edges._said.content
    assert page.state.mm_per_unit is None
    click(page, EDGES[1:])
    assert len(edges.edges) == 1


def test_another_frame_begins_anew_and_the_end_brings_the_points_back(page):
    edges = switch(page, True)
    click(page, EDGES)
    assert len(page.server.scene.get_handle_by_name("/picture/edges").points) == 9
    page.panel.frames.go(FRAME, None)
    assert len(edges.edges) == 2
    page.panel.frames.go(OTHER, None)
    page.settle()
    assert edges.is_on
    assert edges.number == OTHER
    assert edges.edges == []
    assert page.server.scene.get_handle_by_name("/picture/edges") is None
    switch(page, False)
    assert page.nodes._clouds[0].visible
    assert page.server.scene.get_handle_by_name("/picture/frame") is None
    # A click picks points again.
    client = SimpleNamespace(camera=SimpleNamespace(fov=0.7, image_height=800))
    page.pick(client, (0.0, 0.0, 0.0), tuple(page.state.clouds[0].xyz[0]))
    page.settle()
    assert len(page.state.picks) == 1


def test_a_frame_without_a_picture_cannot_be_picked_in(page, monkeypatch):
    monkeypatch.setattr(page.panel.frames, "picture", lambda number: None)
    edges = switch(page, True)
    assert not edges.is_on
    assert not edges.switch.value
    assert f"Frame {FRAME} has no picture" in edges._said.content
    assert page.nodes._clouds[0].visible


def test_what_is_no_pick_has_no_text():
    with pytest.raises(ConfigError, match="edges picked: 0; expected two"):
        tool_text(3, [], 5.0)
    for diameter in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match="expected one above 0"):
            tool_text(3, list(EDGES), diameter)
