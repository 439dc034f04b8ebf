"""What the controls of the page do, without a browser: kinds of measurements, sliders, two runs, cameras, saving."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import texture
from viewing import CAMERA, saved_parts, shown

from dd_sfm.errors import Terminated
from dd_sfm.io.images import write_image
from dd_sfm.io.scene import SceneImage
from dd_sfm.viz.browser import serve
from dd_sfm.viz.browser.scene import PICTURE_WIDTH_PX
from dd_sfm.viz.browser.serve import save_page, serve_page, served
from dd_sfm.viz.render.view_state import ViewState

CLIENT = SimpleNamespace(camera=SimpleNamespace(fov=0.7, image_height=800))
CORNERS = np.array([[-2.0, -2, 10], [2, -2, 10], [2, 1, 10], [-2, 1, 10]])


@pytest.fixture
def cloud(tmp_path):
    return shown(tmp_path)


@pytest.fixture
def open_page():
    """Serves the page of clouds; all pages end with the test."""
    opened = []

    def call(*clouds, **options):
        context = served(ViewState(tuple(clouds), **options), "front", port=0)
        opened.append(context)
        return context.__enter__()[0]

    yield call
    for context in opened:
        context.__exit__(None, None, None)


def choose(page, label, value):
    """Set a control of the panel as the browser does, and wait for what it changes."""
    page.panel.controls[label].value = value
    page.settle()


@pytest.mark.parametrize(("kind", "value"), [("path", "11 scene units"), ("area", "12 scene units²")])
def test_a_path_and_an_area_are_measured(cloud, open_page, kind, value):
    xyz = cloud.xyz.copy()
    xyz[:4] = CORNERS
    page = open_page(replace(cloud, xyz=xyz))
    measure = page.panel.measure
    measure.kind.value = kind
    page.settle()
    assert f"Pick {2 if kind == 'path' else 3} points." in measure._result.content
    for place in CORNERS:
        page.pick(CLIENT, tuple(place - [0, 0, 10.0]), (0.0, 0.0, 1.0))
    page.settle()
    assert page.state.picks == [(0, k) for k in range(4)]
    assert f"{kind}: {value}" in measure._result.content
    assert "4 points" in measure._result.content
    assert "pick the edges of an instrument in Frames" in measure._result.content
    (line,) = [node for node in page.nodes._marks if node.name == "/measured/line"]
    # The outline of an area is closed.
    assert len(line.points) == (3 if kind == "path" else 4)
    assert not measure.line_scale.length.visible
    measure.kind.value = "distance"
    page.settle()
    assert "Pick 2 points." in measure._result.content


def test_sliders_hide_points(cloud, open_page):
    uncertainty = np.linspace(0.001, 0.04, 400)
    page = open_page(replace(cloud, uncertainty=uncertainty))
    node = page.nodes._clouds[0]
    choose(page, "Uncertainty up to [%]", 1.0)
    assert len(node.points) == int((uncertainty <= 0.01).sum())
    page.panel._reset()
    choose(page, "Views from", 7)
    assert len(node.points) == int((cloud.track_length >= 7).sum())
    page.panel._reset()
    choose(page, "left to right", (0.25, 1.0))
    state = page.state
    left = state.low[0] + 0.25 * (state.high - state.low)[0]
    assert len(node.points) == int((cloud.xyz @ state.axes[0] >= left).sum())
    choose(page, "left to right", (0.0, 0.6))
    right = state.low[0] + 0.6 * (state.high - state.low)[0]
    assert len(node.points) == int((cloud.xyz @ state.axes[0] <= right + 1e-9).sum())
    page.panel._reset()
    page.settle()
    assert len(node.points) == 400


def test_two_runs_are_moved_apart_and_shown_alone(cloud, tmp_path, open_page):
    second = replace(shown(tmp_path, label="other", points=300), source=tmp_path / "other")
    page = open_page(cloud, second, side_by_side=True)
    first_node, second_node = (page.nodes._clouds[k] for k in (0, 1))
    offset = page.state.offset(1)
    assert np.linalg.norm(offset) > 10
    assert second_node.points == pytest.approx((second.xyz + offset).astype(np.float32))
    choose(page, "Two runs", "overlaid")
    assert second_node.points == pytest.approx(second.xyz.astype(np.float32))
    choose(page, "Show", "2: other")
    assert (len(first_node.points), len(second_node.points)) == (0, 300)
    assert "0 of 400 points" in page.panel._shown.content
    choose(page, "Show", "1: run")
    assert (len(first_node.points), len(second_node.points)) == (400, 0)
    choose(page, "Show", "both")
    choose(page, "Two runs", "side by side")
    assert len(first_node.points) == 400
    assert second_node.points == pytest.approx((second.xyz + offset).astype(np.float32))


def test_cameras_have_pictures_in_them(tmp_path, open_page):
    path = tmp_path / "frame.png"
    write_image(path, texture(120, 160))
    page = open_page(shown(tmp_path, images=[SceneImage(f"{k}.png", k, CAMERA, path=path) for k in range(5)]))

    def frustums():
        return [node for node in page.nodes._cameras if not node.name.endswith("/path")]

    assert [node.image.shape[1] for node in frustums()] == [PICTURE_WIDTH_PX] * 5
    choose(page, "Pictures in them", False)
    assert [node.image for node in frustums()] == [None] * 5
    choose(page, "Cameras", False)
    assert page.nodes._cameras == []


def test_a_file_for_the_librarys_own_player(cloud, tmp_path):
    path = tmp_path / "scene.viser"
    note = save_page(path, ViewState((cloud,), colour="error"), "side", max_points=100)
    assert "100 of 400" in note
    parts = saved_parts(path.read_bytes())
    assert parts["/colour: error"]
    assert not parts["/colour: photo"]
    assert {"/colour: error/run 1", "/cameras 1/path"} <= parts.keys()


class Waits:
    """An event that nobody waits for."""

    def wait(self):
        return True


@pytest.mark.parametrize(
    ("has_display", "over_ssh", "is_told"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_where_the_page_is_on_another_machine_the_tunnel_is_told(cloud, monkeypatch, has_display, over_ssh, is_told):
    monkeypatch.setattr(serve, "threading", SimpleNamespace(Event=Waits))
    opened = []
    monkeypatch.setattr(serve.webbrowser, "open", opened.append)
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setattr(serve.socket, "gethostname", lambda: "scope-1")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    if over_ssh:
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    said = []
    serve_page(
        ViewState((cloud,)), "front", said.append, port=None, max_points=1000, browser=True, has_display=has_display
    )
    address = said[0].split()[0]
    port = address.rsplit(":", 1)[1]
    tunnel = f"from your own machine: ssh -L {port}:127.0.0.1:{port} ada@scope-1, then {address}"
    assert said[1:] == ([tunnel] if is_told else [])
    assert opened == ([address] if has_display else [])


@pytest.mark.parametrize("ends", [KeyboardInterrupt, Terminated])
def test_ctrl_c_ends_the_page_without_an_error(cloud, monkeypatch, ends):
    def wait(event):
        raise ends

    monkeypatch.setattr(serve, "threading", SimpleNamespace(Event=type("Ends", (), {"wait": wait})))
    shown = {"port": None, "max_points": 1000, "browser": False, "has_display": True}
    with pytest.raises(Terminated) if ends is Terminated else contextlib.nullcontext():
        serve_page(ViewState((cloud,)), "front", lambda line: None, **shown)


def test_a_click_that_picks_goes_to_no_camera(cloud):
    with served(ViewState((cloud,)), "front", port=0) as (page, _):
        went = []
        page.panel.frames.go = lambda number, client: went.append(number)
        go = page._to_frame(cloud.frame_numbers[1])
        go(SimpleNamespace(client=None))
        page.panel.measure._by_click.value = True
        go(SimpleNamespace(client=None))
        assert went == [cloud.frame_numbers[1]]


def test_a_browser_looks_from_a_place_that_fits_its_own_size(cloud):
    with served(ViewState((cloud,)), "front", port=0) as (page, _):
        away = []
        for size in ((900, 800), (300, 800)):
            camera = SimpleNamespace(image_width=size[0], image_height=size[1])
            page.fit(SimpleNamespace(camera=camera, atomic=contextlib.nullcontext), "front")
            away.append(np.linalg.norm(np.subtract(camera.position, camera.look_at)))
        assert away[1] > 1.5 * away[0]
