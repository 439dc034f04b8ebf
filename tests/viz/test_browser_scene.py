"""What the page shows, without a browser: points and their choice, controls, picks, saved scenes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from viewing import shown

from dd_sfm.errors import DeviceError, InputError
from dd_sfm.viz.browser.drawn import Drawn, shown_frames, thinning_note, unsure_frames
from dd_sfm.viz.browser.legend import legend
from dd_sfm.viz.browser.page import pick_along, start_camera
from dd_sfm.viz.browser.serve import open_server, saved_scene, served
from dd_sfm.viz.render.view_state import ViewState

EVIL = "<script>document.title='run'</script>"


@pytest.fixture
def state(tmp_path):
    cloud = shown(tmp_path, label=EVIL)
    return ViewState((replace(cloud, error=np.full(400, 0.1), confidence={10: 0.9, 11: 0.2, 12: 0.6}),))


@pytest.fixture
def page(state):
    with served(state, "front", port=0, notes=(EVIL,)) as (page, _):
        yield page


def test_all_points_are_drawn_while_there_is_room(state):
    (points,) = Drawn(state).points()
    assert (len(points.xyz), points.passing) == (400, 400)
    assert points.xyz == pytest.approx(state.clouds[0].xyz.astype(np.float32))
    assert thinning_note([points], 400) == ""


def test_of_too_many_points_some_are_drawn_and_the_page_says_so(state):
    drawn = Drawn(state, 100)
    (first,), (again,) = drawn.points(), drawn.points()
    assert (len(first.xyz), first.passing) == (100, 400)
    assert (first.xyz == again.xyz).all()
    assert "100 of 400 points are drawn" in thinning_note([first], 100)
    state.max_error_px = 0.4
    (fewer,) = drawn.points()
    assert len(fewer.xyz) == fewer.passing == int((state.clouds[0].error_px <= 0.4).sum())


def test_unsure_frames_come_first(state):
    assert unsure_frames(state.clouds[0]) == [11, 12]
    assert shown_frames(replace(state.clouds[0], between={13: np.eye(4)[:3], 99: np.eye(4)[:3]}))[-1] == 99


def test_the_nearest_visible_point_along_a_ray_is_picked(state):
    target = state.clouds[0].xyz[7]
    origin = target - [0, 0, 10.0]
    assert pick_along(state, origin, np.array([0, 0, 1.0]), 0.7, 800) == (0, 7)
    assert pick_along(state, origin, np.array([0, 0, -1.0]), 0.7, 800) is None
    state.max_error_px = state.clouds[0].error_px[7] - 1e-6
    assert pick_along(state, origin, np.array([0, 0, 1.0]), 0.7, 800) != (0, 7)


def test_names_are_shown_as_they_are_and_never_run(page):
    said = page.panel._shown.content
    assert EVIL not in said
    assert said.count("&lt;script&gt;") == 2
    two = ViewState(tuple(replace(page.state.clouds[0], label=f"{EVIL}{k}") for k in (1, 2)), colour="run")
    assert "<script" not in legend(two)


def test_controls_change_what_is_drawn(page):
    node = page.nodes._clouds[0]
    before = node.colors.copy()
    page.panel._set_colour("error")
    page.state.max_error_px = 1.0
    page.ask("points")
    page.settle()
    assert len(node.points) == int((page.state.clouds[0].error_px <= 1.0).sum())
    assert not np.array_equal(node.colors, before[: len(node.colors)])
    assert "reprojection error [px]" in page.panel._legend.content
    page.panel._reset()
    page.settle()
    assert len(node.points) == 400


def test_what_cannot_be_drawn_is_told_and_the_page_goes_on(page, monkeypatch):
    def fail():
        raise InputError("mesh.ply: <b>damaged</b>")

    monkeypatch.setattr(page.nodes, "update_surface", fail)
    page.ask("surface")
    page.settle()
    assert "mesh.ply: &lt;b&gt;damaged" in page.panel._shown.content
    page.ask("points")
    page.settle()
    assert "400 of 400" in page.panel._shown.content


def test_two_picks_give_a_distance(page):
    client = SimpleNamespace(camera=SimpleNamespace(fov=0.7, image_height=800))
    xyz = page.state.clouds[0].xyz
    for k in (7, 100):
        page.pick(client, tuple(xyz[k] - [0, 0, 10.0]), (0.0, 0.0, 1.0))
    page.settle()
    distance = np.linalg.norm(xyz[7] - xyz[100])
    assert f"{distance:.4g} ± {0.1 * np.sqrt(2):.2g} scene units" in page.panel.measure._result.content
    page.panel.measure._take_back(1)
    page.settle()
    assert "Pick 1 more point." in page.panel.measure._result.content


def test_frames_are_stepped_through(page):
    frames = page.panel.frames
    assert frames.number == 10
    frames.go(11, None)
    page.settle()
    assert "frame 11 (2 of 5)" in frames._text.content
    assert "pose confidence 0.20 (unsure)" in frames._text.content
    assert frames._model.image.shape == (285, 380, 3)
    assert frames._model.image.min() < 200


def test_a_saved_page_holds_everything_and_runs_no_name(state):
    content, note = saved_scene(state, start_camera(state, "side"), max_points=100)
    page = content.decode()
    assert "__VISER_EMBED_DATA__" in page
    assert "document.title='run'" not in page
    assert "&lt;script&gt;document.title=" in page
    assert note in page
    assert "100 of 400" in note


def test_only_pages_of_this_machine_may_connect(state):
    import viser
    import websockets.exceptions
    import websockets.sync.client

    with served(state, "front", port=0) as (_, address):
        connect = websockets.sync.client.connect
        url, protocol = address.replace("http", "ws"), [f"viser-v{viser.__version__}"]
        with connect(url, subprotocols=protocol, origin=address, max_size=None) as socket:
            assert socket.recv()
        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            connect(url, subprotocols=protocol, origin="http://elsewhere.example:8080")


def test_a_port_that_is_taken_is_refused_in_one_line(state):
    with served(state, "front", port=0) as (_, address):
        port = int(address.rsplit(":", 1)[1])
        with pytest.raises(DeviceError, match=f"--port {port}: cannot be used"):
            open_server(port)
