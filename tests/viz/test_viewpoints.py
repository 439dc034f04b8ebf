from dataclasses import replace

import numpy as np
import pytest
from viewing import shown

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError, UsageError
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.render.viewpoints import (
    VIEWS,
    bulk_points,
    find_viewpoint,
    first_view,
    fit_view,
    look_along,
    parse_size,
    viewing_axes,
)


def test_sizes():
    assert parse_size("1280x720") == (1280, 720)
    assert parse_size(" 64X48 ") == (64, 48)


@pytest.mark.parametrize("text", ["big", "1280", "1280x", "x720", "-3x4", "12.5x10", "1280 x 720"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match=r"--size .*: not a size; expected WIDTHxHEIGHT in pixels, such as 1280x720"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0x10", "100000x100", "15x200"])
def test_sizes_that_make_no_picture(text):
    with pytest.raises(UsageError, match="expected 16 to 8192 pixels a side"):
        parse_size(text)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_the_whole_holds_all_and_is_no_larger_than_needed(tmp_path, name):
    cloud = shown(tmp_path)
    view = find_viewpoint(name, cloud, cloud.xyz, 320, 200)
    assert view.cam_from_world[:, :3] @ view.cam_from_world[:, :3].T == pytest.approx(np.eye(3))
    assert np.linalg.det(view.cam_from_world[:, :3]) == pytest.approx(1)
    places = project(
        np.concatenate([bulk_points(cloud.xyz), camera_centres(cloud.cam_from_world)]), view.camera, view.cam_from_world
    )
    assert (places.depth > 0).all()
    assert ((places.xy >= 0) & (places.xy <= [319, 199])).all()
    reach = np.abs(places.xy - [159.5, 99.5]) / [160, 100]
    assert reach.max() > 0.7


def test_the_first_view_is_across_the_shortest_side(tmp_path):
    cloud = shown(tmp_path)
    # A wall is seen as the cameras see it, a tube along their way from beside it.
    assert first_view(cloud, cloud.xyz) == "front"
    rng = np.random.default_rng(0)
    angle, along = rng.uniform(0, 2 * np.pi, 2000), rng.uniform(0, 60, 2000)
    for across, down, expected in ((10, 15, "side"), (15, 10, "top")):
        tube = np.column_stack([across * np.cos(angle), down * np.sin(angle), along])
        assert first_view(cloud, tube) == expected
    empty = np.zeros((1, 3))
    assert first_view(cloud, empty) == "front"


def test_the_views_look_where_their_names_say(tmp_path):
    cloud = shown(tmp_path)
    forward = {name: find_viewpoint(name, cloud, cloud.xyz, 100, 100).cam_from_world[2, :3] for name in VIEWS}
    # The cameras look along z with y down.
    assert forward["front"] == pytest.approx([0, 0, 1])
    assert forward["top"] == pytest.approx([0, 1, 0])
    assert forward["side"] == pytest.approx([-1, 0, 0])
    assert forward["oblique"][1] > 0.2
    assert forward["oblique"][2] > 0.2


def test_the_view_of_a_camera(tmp_path):
    cloud = shown(tmp_path)
    view = find_viewpoint("camera:12", cloud, cloud.xyz, 320, 240)
    assert view.cam_from_world == pytest.approx(cloud.cam_from_world[2])
    assert (view.camera.fx, view.camera.cx) == (200.0, 159.5)


def test_the_view_of_a_frame_between_key_frames(tmp_path):
    cloud = shown(tmp_path)
    between = np.column_stack([np.eye(3), [-0.7, 0.1, 0]])
    cloud = replace(cloud, between={11: cloud.cam_from_world[0], 30: between})
    view = find_viewpoint("camera:30", cloud, cloud.xyz, 320, 240)
    assert view.cam_from_world == pytest.approx(between)
    assert (view.camera.fx, view.camera.cx) == (200.0, 159.5)
    # The model's own pose of a key frame counts.
    assert find_viewpoint("camera:11", cloud, cloud.xyz, 320, 240).cam_from_world[0, 3] == -0.5


def test_views_that_are_not_there(tmp_path):
    cloud = shown(tmp_path)
    with pytest.raises(
        InputError, match=r"camera:3: frame 3 has no pose in .*run; expected .*\(5 are: 10 to 14; the nearest is 10\)"
    ):
        find_viewpoint("camera:3", cloud, cloud.xyz, 320, 240)
    for name in ("behind", "camera", "camera:x", "camera:-1"):
        with pytest.raises(UsageError, match="unknown; expected front, top, side, oblique or camera:N"):
            find_viewpoint(name, cloud, cloud.xyz, 320, 240)


def test_without_cameras_the_axes_are_the_worlds():
    assert viewing_axes(np.zeros((0, 3, 4))).tolist() == np.eye(3).tolist()


def test_a_single_point_can_be_looked_at(tmp_path):
    cloud = shown(tmp_path, points=1)
    view = find_viewpoint("front", cloud, cloud.xyz, 100, 100)
    assert np.isfinite(project(cloud.xyz, view.camera, view.cam_from_world).xy).all()


def test_a_view_leaves_strays_out_but_no_sparse_end(tmp_path):
    rng = np.random.default_rng(0)
    near = rng.uniform([0, 0, 0], [1, 1, 1], (20_000, 3))
    end = rng.uniform([0.5, 0, 1], [0.5, 1, 2], (1000, 3))
    strays = np.array([[0, 0, 300.0], [5, 5, 5], [-9, 0, 0]])
    kept = bulk_points(np.concatenate([near, end, strays]))
    assert len(near) <= len(kept) <= len(near) + len(end)
    assert kept[:, 2].max() > 1.8
    assert np.abs(kept).max() < 2.1
    few = np.concatenate([near[:20], strays])
    assert bulk_points(few).tolist() == few.tolist()
    same = np.zeros((500, 3))
    assert bulk_points(same).tolist() == same.tolist()


def test_a_mesh_is_whole_in_its_picture(tmp_path):
    mesh = replace(shown(tmp_path, points=600), faces=np.array([[0, 1, 2]]))
    mesh.xyz[0] = [0, 40, 10]
    view = find_viewpoint("front", mesh, mesh.xyz, 320, 200)
    places = project(mesh.xyz, view.camera, view.cam_from_world).xy
    assert ((places >= 0) & (places <= [319, 199])).all()


def test_a_view_along_a_direction_with_down_below():
    forward, down = np.array([2.0, 3.0, 7.0]), np.array([0.0, 1.0, 0.0])
    axes = look_along(forward, down)
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes @ forward == pytest.approx([0, 0, np.linalg.norm(forward)])
    assert (axes @ down)[0] == pytest.approx(0)
    assert (axes @ down)[1] > 0
    points = np.random.default_rng(0).normal(size=(300, 3)) * [1, 4, 2]
    view = fit_view(axes, points, (200, 100))
    reach = np.abs(project(points, view.camera, view.cam_from_world).xy - [99.5, 49.5]) / [100, 50]
    assert 0.8 < reach.max() < 1
