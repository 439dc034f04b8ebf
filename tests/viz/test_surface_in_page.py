"""The meshes of runs in the page and in what it saves."""

import re
from dataclasses import replace

import numpy as np
import pytest
from viewing import saved_parts, shown

from dd_sfm.io.clouds import write_mesh
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.viz.browser.page import start_camera
from dd_sfm.viz.browser.serve import saved_scene, served
from dd_sfm.viz.render.cloud_view import open_mesh
from dd_sfm.viz.render.view_state import ViewState

SIDE = 40
MOVED = Similarity(2.0, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2.0, 3.0]))


def write_wall(folder, side=SIDE):
    """A mesh of side x side vertices in the folder; returns its vertices."""
    folder.mkdir(exist_ok=True)
    x, y = np.meshgrid(np.linspace(-4, 6, side), np.linspace(-4, 4, side))
    xyz = np.column_stack([x.ravel(), y.ravel(), np.full(side**2, 10.0)])
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, side], corner[:, None] + [1, side + 1, side]])
    write_mesh(folder / "mesh.ply", xyz, faces, np.tile([0.0, 0, -1], (len(xyz), 1)), np.full(xyz.shape, 90, np.uint8))
    return xyz


@pytest.fixture
def state(tmp_path):
    """Two runs, of which the second was brought onto the first; both have a mesh."""
    first, second = shown(tmp_path, label="first"), shown(tmp_path, label="second")
    for cloud in (first, second):
        write_wall(cloud.source)
    return ViewState((first, replace(second, placed=MOVED)))


@pytest.fixture
def page(state):
    with served(state, "front", port=0) as (page, _):
        yield page


def choose(page, handle, value):
    """Choose an entry of a list as the browser does, and wait for what it changes."""
    handle.value = value
    page.settle()


def test_a_mesh_comes_in_the_coordinates_of_its_cloud(state):
    xyz = open_mesh(state.clouds[0]).xyz
    assert open_mesh(state.clouds[1]).xyz == pytest.approx(MOVED.points(xyz))
    (state.clouds[0].source / "mesh.ply").unlink()
    assert open_mesh(state.clouds[0]) is None


def test_the_list_draws_the_meshes_of_both_runs(page):
    assert not page.nodes._surfaces
    choose(page, page.panel.controls["Surface"], "mesh")
    drawn = page.nodes._surfaces
    assert [drawn[k].visible for k in (0, 1)] == [True, True]
    assert not any(node.visible for node in page.nodes._clouds.values())
    assert page.server.scene.get_handle_by_name("/mesh/run 2") is drawn[1]
    choose(page, page.panel.controls["Surface"], "both")
    assert all(node.visible for node in (*page.nodes._clouds.values(), *drawn.values()))
    choose(page, page.panel.controls["Surface"], "points")
    assert not any(node.visible for node in drawn.values())


def test_a_mesh_goes_with_its_run(page):
    choose(page, page.panel.controls["Surface"], "both")
    page.state.side_by_side, page.state.only = True, 1
    page.ask("surface", "points")
    page.settle()
    first, second = (page.nodes._surfaces[k] for k in (0, 1))
    assert (first.visible, second.visible) == (False, True)
    assert second.position == pytest.approx(page.state.offset(1))


def test_a_run_without_a_mesh_keeps_its_points(page):
    (page.state.clouds[1].source / "mesh.ply").unlink()
    choose(page, page.panel.controls["Surface"], "mesh")
    assert [page.nodes._clouds[k].visible for k in (0, 1)] == [False, True]


@pytest.mark.parametrize("surface", ["points", "mesh"])
def test_what_is_saved_holds_the_meshes_as_parts_that_can_be_switched(state, surface):
    state.surface = surface
    content, note = saved_scene(state, start_camera(state, "front"), as_page=False)
    assert note == ""
    parts = saved_parts(content)
    meshes = {name for name in parts if re.fullmatch("/mesh/run .", name)}
    assert meshes == {"/mesh/run 1", "/mesh/run 2"}
    assert parts["/mesh"] == (surface == "mesh")
    assert all(parts[name] for name in meshes)
    assert parts["/colour: photo"]
    assert parts["/colour: photo/run 1"] == (surface == "points")


def test_a_saved_page_grows_by_its_mesh(state):
    with_meshes, _ = saved_scene(state, start_camera(state, "front"))
    for cloud in state.clouds:
        (cloud.source / "mesh.ply").unlink()
    without, _ = saved_scene(state, start_camera(state, "front"))
    assert len(without) + 2 * SIDE**2 < len(with_meshes) < len(without) + 200 * SIDE**2


def test_a_damaged_mesh_is_left_out_of_what_is_saved_and_told(state):
    path = state.clouds[0].source / "mesh.ply"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n")
    content, note = saved_scene(state, start_camera(state, "front"))
    assert note.startswith(f"{path}: ")
    assert "mesh.ply" in content.decode().split('id="caption"')[1]
