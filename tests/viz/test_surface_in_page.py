"""The meshes of runs in the page and in what it saves."""

import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from viewing import WALL_SIDE, saved_parts, shown, write_wall

from dd_sfm.sfm.geometry import Similarity
from dd_sfm.viz.browser.glb import mesh_as_glb
from dd_sfm.viz.browser.page import start_camera
from dd_sfm.viz.browser.serve import saved_scene, served
from dd_sfm.viz.render.cloud_view import open_mesh
from dd_sfm.viz.render.view_state import ViewState

MOVED = Similarity(2.0, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2.0, 3.0]))


def test_a_mesh_is_valid_gltf_in_the_colours_of_pictures():
    import trimesh

    rng = np.random.default_rng(0)
    xyz, faces = rng.normal(size=(5, 3)), np.array([[0, 1, 2], [2, 3, 4], [4, 0, 1]])
    content = mesh_as_glb(xyz, faces, np.tile(np.uint8([0, 188, 255]), (5, 1)))
    assert int.from_bytes(content[8:12], "little") == len(content)
    (found,) = trimesh.load(BytesIO(content), file_type="glb", process=False).geometry.values()
    assert found.vertices == pytest.approx(xyz, abs=1e-6)
    assert (found.faces == faces).all()
    assert found.visual.material.doubleSided
    # Half of the light is 188 of 255 in a picture.
    assert found.visual.vertex_attributes["color"][0] / 65535 == pytest.approx([0, 0.5, 1, 1], abs=4e-3)


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


def test_points_are_hidden_from_the_start_where_the_mesh_is_shown(state):
    state.surface = "mesh"
    with served(state, "front", port=0) as (page, _):
        assert not any(node.visible for node in page.nodes._clouds.values())
        assert all(node.visible for node in page.nodes._surfaces.values())


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
    assert len(without) + 2 * WALL_SIDE**2 < len(with_meshes) < len(without) + 200 * WALL_SIDE**2


def test_a_damaged_mesh_is_left_out_of_what_is_saved_and_told(state):
    path = state.clouds[0].source / "mesh.ply"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n")
    content, note = saved_scene(state, start_camera(state, "front"))
    assert note.startswith(f"{path}: ")
    assert "mesh.ply" in content.decode().split('id="caption"')[1]


@pytest.mark.parametrize("surface", ["mesh", "both"])
def test_a_damaged_mesh_leaves_the_points_and_stays_told(page, surface):
    path = page.state.clouds[0].source / "mesh.ply"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n")
    choose(page, page.panel.controls["Surface"], surface)
    for _ in range(2):
        assert [page.nodes._clouds[k].visible for k in (0, 1)] == [True, surface == "both"]
        assert page.nodes._surfaces[1].visible
        assert str(path) in page.panel._shown.content
        page.ask("points")
        page.settle()
