import json
from dataclasses import replace

import numpy as np
import pytest
from converting import WITHOUT_POSE, write_small_run
from plyfile import PlyData, PlyElement
from viewing import poses, shown

from dd_sfm.errors import InputError
from dd_sfm.io.clouds import write_cloud, write_mesh, write_points
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.scene import open_scene
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import Frame, FrameSet, Model
from dd_sfm.viz.render.cloud_view import (
    align_cloud_view,
    distinct_labels,
    median_spacing,
    open_cloud_view,
    point_spacing,
)
from dd_sfm.viz.render.screenshot import render_screenshot
from dd_sfm.viz.render.view_state import ViewState


def write_empty_model(folder, camera):
    """A model with cameras and no point."""
    frames = [Frame(k, folder / f"{k:08d}.png", folder, k / 25) for k in range(4)]
    none = np.zeros(0)
    model = Model(
        camera, dict(enumerate(poses(4))), np.zeros((0, 3)), np.zeros((0, 3), np.uint8), none,
        none.astype(int), none.astype(int), np.zeros((0, 2)),
    )  # fmt: skip
    write_model(folder, model, FrameSet(tuple(frames), camera, 100))


def test_a_run(tmp_path):
    model = write_small_run(tmp_path / "run")
    found = open_cloud_view(tmp_path / "run")
    assert found.label == "run"
    assert found.xyz == pytest.approx(model.xyz)
    assert (found.rgb == model.rgb).all()
    assert found.error_px == pytest.approx(model.error_px)
    assert (found.track_length == np.bincount(model.point)).all()
    assert len(found.images) == 15
    assert 10 + WITHOUT_POSE not in found.frame_numbers
    assert np.isnan(found.uncertainty).all()
    assert found.images[0].path is not None


def test_a_column_of_the_runs_own_cloud(tmp_path):
    model = write_small_run(tmp_path / "run")
    cloud = to_cloud(open_scene(tmp_path / "run").model)
    write_cloud(tmp_path / "run" / "points.ply", cloud)
    vertex = PlyData.read(tmp_path / "run" / "points.ply")["vertex"].data
    more = np.empty(len(vertex), [*vertex.dtype.descr, ("uncertainty", "<f4")])
    for name in vertex.dtype.names:
        more[name] = vertex[name]
    more["uncertainty"] = np.linspace(0.01, 0.1, len(more))
    PlyData([PlyElement.describe(more, "vertex")]).write(tmp_path / "run" / "points.ply")
    for source in (tmp_path / "run", tmp_path / "run" / "sparse" / "0", tmp_path / "run" / "points.ply"):
        assert open_cloud_view(source).uncertainty == pytest.approx(np.linspace(0.01, 0.1, len(model.xyz)))
    # A file of other points than the model's says nothing of them.
    PlyData([PlyElement.describe(more[:-1], "vertex")]).write(tmp_path / "run" / "points.ply")
    assert np.isnan(open_cloud_view(tmp_path / "run").uncertainty).all()


def test_a_bare_cloud(tmp_path):
    xyz = np.arange(12.0).reshape(4, 3)
    write_points(tmp_path / "cloud.ply", xyz, np.full((4, 3), 9))
    found = open_cloud_view(tmp_path / "cloud.ply")
    assert (found.label, found.images) == ("cloud", ())
    assert found.xyz == pytest.approx(xyz)
    assert np.isnan(found.error_px).all()
    assert not found.track_length.any()


def test_points_without_a_place_are_left_out(tmp_path):
    xyz = np.arange(12.0).reshape(4, 3)
    xyz[1, 2] = np.nan
    write_points(tmp_path / "cloud.ply", xyz, np.arange(12).reshape(4, 3))
    found = open_cloud_view(tmp_path / "cloud.ply")
    assert found.xyz == pytest.approx(xyz[[0, 2, 3]])
    assert found.rgb[1].tolist() == [6, 7, 8]
    assert {len(v) for v in (found.error_px, found.track_length, found.uncertainty)} == {3}


def square(n=5):
    """A mesh of a square of n x n vertices, one apart."""
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    xyz = np.stack([x.ravel(), y.ravel(), np.full(n * n, 10)], 1).astype(float)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + n], 1), np.stack([corner + 1, corner + n + 1, corner + n], 1)]
    )
    return xyz, faces


def test_a_mesh_keeps_its_faces(tmp_path):
    xyz, faces = square()
    write_mesh(tmp_path / "mesh.ply", xyz, faces, np.zeros_like(xyz))
    found = open_cloud_view(tmp_path / "mesh.ply")
    assert (found.faces == faces).all()
    assert found.point_word == "vertices"
    xyz[0] = np.nan
    write_mesh(tmp_path / "mesh.ply", xyz, faces, np.zeros_like(xyz))
    found = open_cloud_view(tmp_path / "mesh.ply")
    assert len(found.xyz) == 24
    assert (found.faces == faces[1:] - 1).all()


def test_a_mesh_is_drawn_as_a_closed_surface(tmp_path):
    xyz, faces = square()
    rgb = np.full(xyz.shape, 90)
    rgb[0] = 91  # a mesh of one colour is shaded
    write_mesh(tmp_path / "mesh.ply", xyz, faces, np.zeros_like(xyz), rgb)
    state = ViewState((open_cloud_view(tmp_path / "mesh.ply"),), cameras=False)
    inner = render_screenshot(state, "front", 100, 100)[30:70, 30:70]
    assert (np.abs(inner.astype(int) - 90) < 5).all()


def test_a_mesh_of_one_colour_shows_its_shape(tmp_path):
    xyz, faces = square()
    xyz[:, 2] += np.repeat([0, 0, 0, 2, 4], 5)  # rises along y from the third row on
    write_mesh(tmp_path / "mesh.ply", xyz, faces, np.zeros_like(xyz), np.full(xyz.shape, 100))
    rgb = open_cloud_view(tmp_path / "mesh.ply").rgb
    assert (rgb == rgb[:, :1]).all()
    # Flat: 0.3 + 0.7 * 5 / sqrt(38) of the colour; steep: less, as it faces away from the light.
    assert rgb[0].tolist() == [87, 87, 87]
    assert rgb[-1, 0] < 50


def test_no_cloud(tmp_path):
    with pytest.raises(InputError, match="nothing: not found; expected a run folder"):
        open_cloud_view(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"none.ply: not found; expected .* or a PLY file"):
        open_cloud_view(tmp_path / "none.ply")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model found"):
        open_cloud_view(tmp_path / "empty")
    (tmp_path / "letter.txt").write_text("Dear reader")
    with pytest.raises(InputError, match="letter.txt: not a PLY file; expected a run folder"):
        open_cloud_view(tmp_path / "letter.txt")


def test_an_empty_cloud(tmp_path):
    write_points(tmp_path / "empty.ply", np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(InputError, match=r"empty.ply: the cloud has no point"):
        open_cloud_view(tmp_path / "empty.ply")
    write_empty_model(tmp_path / "model", shown(tmp_path).images[0].camera)
    with pytest.raises(InputError, match="model: the model has no point; expected at least one"):
        open_cloud_view(tmp_path / "model")


def moved(cloud, similarity):
    return replace(
        cloud, xyz=similarity.points(cloud.xyz), cam_from_world=similarity.poses(cloud.cam_from_world), label="moved"
    )


def test_cameras_of_another_video_do_not_follow_the_first_ones(tmp_path):
    first = shown(tmp_path, count=8)
    other = replace(first, cam_from_world=first.cam_from_world[[5, 0, 7, 2, 6, 1, 4, 3]])
    assert not align_cloud_view(other, first)[1]


def test_a_second_run_is_brought_onto_the_first_by_the_images_they_share(tmp_path):
    first = shown(tmp_path, count=8)
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    second = moved(first, Similarity(0.3, turn, np.array([4.0, -2.0, 1.0])))
    second = replace(second, images=second.images[3:], cam_from_world=second.cam_from_world[3:])
    back, same = align_cloud_view(second, first)
    assert same
    assert back.xyz == pytest.approx(first.xyz)
    assert back.placed.points(second.xyz) == pytest.approx(first.xyz)
    assert back.cam_from_world == pytest.approx(first.cam_from_world[3:])


def test_runs_that_share_too_little(tmp_path):
    first, second = shown(tmp_path, label="a"), shown(tmp_path, label="b")
    other = replace(second, images=tuple(replace(i, number=i.number + 100) for i in second.images))
    with pytest.raises(InputError, match=r"a and .*b: no image in common; expected 3 or more frames of the same video"):
        align_cloud_view(other, first)
    near = replace(second, images=tuple(replace(i, number=i.number + 3) for i in second.images))
    with pytest.raises(InputError, match="2 images in common"):
        align_cloud_view(near, first)
    with pytest.raises(InputError, match="b: has no cameras to align it to another cloud by"):
        align_cloud_view(replace(second, images=(), cam_from_world=np.zeros((0, 3, 4))), first)


def test_labels_that_are_the_same_become_names(tmp_path):
    assert distinct_labels(["learned", "SIFT"], [tmp_path / "a", tmp_path / "b"]) == ["learned", "SIFT"]
    assert distinct_labels(["learned", "learned"], [tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    runs = [tmp_path / "a" / "learned", tmp_path / "b" / "learned"]
    assert distinct_labels(["learned", "learned"], runs) == ["a/learned", "b/learned"]
    # The byte of a name that is no text.
    assert distinct_labels(["a\udce4"], [tmp_path / "a"]) == [r"a\udce4"]
    assert len(set(distinct_labels(["x", "x"], [tmp_path / "a" / "c" / "x", tmp_path / "b" / "c" / "x"]))) == 2


def test_a_run_is_called_by_its_folder_and_within_a_comparison_by_its_features(tmp_path):
    write_small_run(tmp_path / "sift")
    # What it calls its features does not matter: with one run and with two it has one name.
    (tmp_path / "sift" / "metrics.json").write_text(json.dumps({"features": "learned"}))
    assert open_cloud_view(tmp_path / "sift").label == "sift"
    assert open_cloud_view(tmp_path / "sift" / "sparse" / "0").label == "sift/sparse/0"
    (tmp_path / "learned").mkdir()
    assert open_cloud_view(tmp_path / "sift").label == "SIFT"


def test_spacing_of_a_grid():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0]), -1).reshape(-1, 3)
    spacing = point_spacing(grid).reshape(20, 20)
    assert (spacing[1:-1, 1:-1] == 1).all()
    assert median_spacing(grid) == 1
    assert median_spacing(grid, max_points=50) == 1
    assert point_spacing(grid[:1]).tolist() == [0]
    assert median_spacing(grid[:1]) == 0


def test_numbers_in_the_names_of_a_runs_source_images(tmp_path):
    write_small_run(tmp_path / "run")
    assert {image.source_number for image in open_cloud_view(tmp_path / "run").images} == {None}
    path = tmp_path / "run" / "frames.json"
    content = json.loads(path.read_text())
    content["frames"] = [record | {"source": f"2024_frame{record['index'] + 5}.png"} for record in content["frames"]]
    path.write_text(json.dumps(content))
    assert all(image.source_number == image.number + 5 for image in open_cloud_view(tmp_path / "run").images)
