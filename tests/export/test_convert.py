import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pycolmap
import pytest
from conftest import texture
from converting import FIRST, WITHOUT_POSE, small_model, write_small_run
from plane import CAMERA
from plyfile import PlyData

from dd_sfm.errors import ConfigError, InputError, OutputError
from dd_sfm.export.convert import convert
from dd_sfm.io.clouds import read_cloud, write_cloud
from dd_sfm.io.colmap_model import read_model, write_model
from dd_sfm.io.images import read_image, read_mask, write_image
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.scene import open_scene
from dd_sfm.io.trajectory import FramePose, write_trajectory
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import Frame, FrameRecord, FrameSet


@pytest.fixture
def run(tmp_path):
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def same_reconstruction(first, second):
    """Two COLMAP models are the same: names, poses, cameras, points, colours, tracks."""
    a, b = pycolmap.Reconstruction(str(first)), pycolmap.Reconstruction(str(second))
    assert sorted(a.points3D) == sorted(b.points3D)
    assert sorted(a.images) == sorted(b.images)
    for i, image in a.images.items():
        assert image.name == b.images[i].name
        assert image.cam_from_world().matrix() == pytest.approx(b.images[i].cam_from_world().matrix(), abs=1e-12)
        assert [tuple(p.xy) for p in image.points2D] == [tuple(p.xy) for p in b.images[i].points2D]
    for i, camera in a.cameras.items():
        assert camera.params == pytest.approx(b.cameras[i].params)
    for i, point in a.points3D.items():
        assert point.xyz == pytest.approx(b.points3D[i].xyz)
        assert tuple(point.color) == tuple(b.points3D[i].color)
        ours, theirs = ([(e.image_id, e.point2D_idx) for e in p.track.elements] for p in (point, b.points3D[i]))
        assert ours == theirs


def test_colmap_binary_and_text_hold_the_same(run, tmp_path):
    convert(run, tmp_path / "binary", "colmap")
    convert(run, tmp_path / "text", "colmap-text")
    convert(tmp_path / "text", tmp_path / "again", "colmap")
    for name in ("binary", "text", "again"):
        same_reconstruction(run / "sparse" / "0", tmp_path / name)
    assert {"cameras.txt", "images.txt", "points3D.txt"} < set(names_in(tmp_path / "text"))
    assert not (tmp_path / "binary" / "images").exists()


def test_copied_images_and_masks_are_found_beside_the_model(run, tmp_path):
    convert(run, tmp_path / "out", "colmap", copy_images=True)
    assert len(names_in(tmp_path / "out" / "images")) == 15
    scene = open_scene(tmp_path / "out")
    assert scene.images[0].path == tmp_path / "out" / "images" / "00000010.png"
    assert scene.images[0].mask_path == tmp_path / "out" / "masks" / "00000010.png.png"


def test_colmap_to_jhu_and_back(run, tmp_path):
    model = small_model()
    convert(run, tmp_path / "jhu", "jhu")
    read = read_sequence(tmp_path / "jhu")
    assert read.convention == "world_from_cam"
    assert read.frames == list(range(FIRST, FIRST + 16))
    assert sorted(read.cam_from_world) == [k + FIRST for k in range(16) if k != WITHOUT_POSE]
    assert read.cameras[FIRST].matrix == pytest.approx(CAMERA.matrix)
    assert len((tmp_path / "jhu" / "camera_intrinsics_per_view").read_text().split()) == 3 * 15
    assert read.mask[:, 0].all()
    assert all(path.is_file() for path in read.image_paths.values())
    difference = read_image(read.image_paths[12]).astype(int) - read_image(run / "frames" / "00000012.png")
    assert np.abs(difference).mean() < 3

    convert(tmp_path / "jhu", tmp_path / "back", "colmap")
    back = read_model(tmp_path / "back", {f"{k + FIRST:08d}.jpg": k for k in range(16)})
    assert back.xyz == pytest.approx(model.xyz, abs=1e-4)
    assert back.camera == model.camera
    assert sorted(back.cam_from_world) == sorted(model.cam_from_world)
    for k, pose in model.cam_from_world.items():
        assert back.cam_from_world[k] == pytest.approx(pose, abs=1e-9)
    assert (back.point == model.point).all()
    assert (back.frame == model.frame).all()
    # The model's observations are exact projections, so those made on the way back are the same.
    assert back.xy == pytest.approx(model.xy, abs=1e-3)
    assert pycolmap.Reconstruction(str(tmp_path / "back")).compute_num_observations() == len(model.point)


def test_points_of_a_sequence_take_their_colour_from_its_images(run, tmp_path):
    for path in (run / "frames").iterdir():
        write_image(path, np.full((120, 160, 3), (200, 100, 50), np.uint8))
    convert(run, tmp_path / "jhu", "jhu")
    convert(tmp_path / "jhu", tmp_path / "ply", "ply")
    rgb = read_cloud(tmp_path / "ply" / "points.ply").rgb
    assert np.abs(rgb.astype(int) - [200, 100, 50]).max() <= 3


def test_nerfstudio_by_hand(run, tmp_path):
    model = small_model()
    convert(run, tmp_path / "out", "nerfstudio")
    content = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert (content["camera_model"], content["w"], content["h"]) == ("OPENCV", 160, 120)
    # COLMAP's and nerfstudio's first pixel has its centre at 0.5.
    assert (content["fl_x"], content["cx"], content["cy"]) == (100.0, 80.0, 60.0)
    assert content["applied_transform"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert [f["file_path"] for f in content["frames"]][:4] == [
        f"images/{k:08d}.png" for k in (10, 11, 12, 14)
    ]  # fmt: skip
    frame, pose = content["frames"][5], model.cam_from_world[6]
    matrix = np.array(frame["transform_matrix"])
    rotation, centre = pose[:, :3].T, -pose[:, :3].T @ pose[:, 3]
    assert matrix[:3, 3] == pytest.approx(centre)
    assert matrix[:3, 0] == pytest.approx(rotation[:, 0])
    assert matrix[:3, 1] == pytest.approx(-rotation[:, 1])
    assert matrix[:3, 2] == pytest.approx(-rotation[:, 2])
    assert matrix[3].tolist() == [0, 0, 0, 1]
    # OpenGL: the scene lies along -z, and y points up.
    rows = model.frame == 6
    local = (model.xyz[model.point[rows]] - matrix[:3, 3]) @ matrix[:3, :3]
    assert (local[:, 2] < 0).all()
    x = content["fl_x"] * local[:, 0] / -local[:, 2] + content["cx"]
    y = content["fl_y"] * -local[:, 1] / -local[:, 2] + content["cy"]
    assert np.stack([x, y], 1) - 0.5 == pytest.approx(model.xy[rows])
    # Black where ignored, and a mask for every frame.
    mask = read_mask(tmp_path / "out" / frame["mask_path"])
    assert not mask[:, :6].any()
    assert mask[:, 6:].all()
    assert (tmp_path / "out" / frame["file_path"]).read_bytes() == (run / "frames" / "00000016.png").read_bytes()
    cloud = PlyData.read(tmp_path / "out" / content["ply_file_path"])["vertex"].data
    assert cloud.dtype.names == ("x", "y", "z", "red", "green", "blue")
    assert np.stack([cloud[c] for c in "xyz"], 1) == pytest.approx(model.xyz, abs=1e-4)
    assert (cloud["red"] == model.rgb[:, 0]).all()


def as_hloc(folder, name0, name1):
    """What hloc's get_matches gives for a pair."""
    with h5py.File(folder / "matches.h5") as file:
        group = file[f"{name0.replace('/', '-')}/{name1.replace('/', '-')}"]
        matches0, scores = group["matches0"][()], group["matching_scores0"][()]
    found = np.flatnonzero(matches0 != -1)
    assert (scores[found] == 1).all()
    return np.stack([found, matches0[found]], 1)


def test_hloc_holds_the_databases_keypoints_and_verified_matches(run, tmp_path):
    with pycolmap.Database.open(run / "database.db") as database:
        geometry = pycolmap.TwoViewGeometry()
        wanted = database.read_matches(1, 2)[::2]
        geometry.inlier_matches, geometry.config = wanted, pycolmap.TwoViewGeometryConfiguration.CALIBRATED
        database.write_two_view_geometry(1, 2, geometry)
        keypoints = {image.name: database.read_keypoints(image.image_id) for image in database.read_all_images()}
    convert(run, tmp_path / "out", "hloc")
    assert names_in(tmp_path / "out") == ["convert.json", "features.h5", "matches.h5", "pairs.txt"]
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        assert sorted(file) == sorted(keypoints)
        for name, places in keypoints.items():
            # hloc adds half a pixel when it imports keypoints into COLMAP.
            assert file[name]["keypoints"][()] + 0.5 == pytest.approx(places, abs=1e-5)
            assert file[name]["image_size"][()].tolist() == [160, 120]
    assert (tmp_path / "out" / "pairs.txt").read_text() == "00000010.png 00000011.png\n"
    assert as_hloc(tmp_path / "out", "00000010.png", "00000011.png").tolist() == wanted.tolist()


def test_hloc_leaves_the_databases_folder_as_it_is(run, tmp_path):
    before = sorted(p.name for p in run.iterdir())
    (run / "database.db").chmod(0o444)
    convert(run, tmp_path / "out", "hloc")
    assert sorted(p.name for p in run.iterdir()) == before


@contextmanager
def renamed_in_the_log(database):
    """While another program has the database open, an image is called otherwise there, in the log alone."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("PRAGMA wal_autocheckpoint=0")
        other.execute("UPDATE images SET name = 'renamed.png' WHERE name = '00000010.png'")
        other.commit()
        yield


def test_hloc_reads_what_another_program_has_not_yet_merged(run, tmp_path):
    with renamed_in_the_log(run / "database.db"):
        convert(run, tmp_path / "out", "hloc")
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        assert "renamed.png" in file


def test_hloc_follows_a_link_to_a_database(run, tmp_path):
    (run / "database.db").rename(tmp_path / "elsewhere.db")
    (run / "database.db").symlink_to(tmp_path / "elsewhere.db")
    with renamed_in_the_log(tmp_path / "elsewhere.db"):
        convert(run, tmp_path / "out", "hloc")
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        assert "renamed.png" in file


def test_hloc_without_a_database_follows_the_tracks(run, tmp_path):
    model = small_model()
    (run / "database.db").unlink()
    done = convert(run, tmp_path / "out", "hloc")
    assert any("follow the tracks" in note for note in done.notes)
    matches = as_hloc(tmp_path / "out", "00000010.png", "00000012.png")
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        first, second = (file[n]["keypoints"][()] for n in ("00000010.png", "00000012.png"))
    places = {k: {tuple(np.round(xy, 3)): p for p, xy in zip(model.point[model.frame == k], model.xy[model.frame == k], strict=True)} for k in (0, 2)}  # fmt: skip # noqa: E501
    assert len(matches) > 10
    for i, j in matches:
        near = [min(places[k], key=lambda xy, at=at: np.hypot(*(np.array(xy) - at))) for k, at in ((0, first[i]), (2, second[j]))]  # fmt: skip # noqa: E501
        assert places[0][near[0]] == places[2][near[1]]


def test_a_run_hands_on_how_far_its_points_are_to_be_trusted(run, tmp_path):
    own = to_cloud(small_model(), np.linspace(0.01, 0.05, len(small_model().xyz)))
    write_cloud(run / "points.ply", own)
    convert(run, tmp_path / "cloud.ply", "ply")
    cloud = read_cloud(tmp_path / "cloud.ply")
    assert cloud.uncertainty == pytest.approx(own.uncertainty)
    assert cloud.triangulation_angle_deg == pytest.approx(own.triangulation_angle_deg)
    convert(run / "sparse" / "0", tmp_path / "model.ply", "ply")
    assert (tmp_path / "model.ply").read_bytes() == (tmp_path / "cloud.ply").read_bytes()
    # A cloud that is not that of the model tells nothing of its points.
    write_cloud(run / "points.ply", replace(own, xyz=own.xyz[::-1] + 1))
    convert(run, tmp_path / "other.ply", "ply")
    assert read_cloud(tmp_path / "other.ply").uncertainty is None


def test_a_trajectory_of_other_frames_is_one_clear_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.export.tum.read_frames", lambda run: SimpleNamespace(records=()))
    write_trajectory(run, [FramePose(FrameRecord(9999, 0.0, 1.0, None, ""), 0, np.eye(4)[:3])])
    with pytest.raises(InputError, match=r"trajectory\.csv: frame 9999, which the run does not have"):
        convert(run, tmp_path / "path.tum", "tum")


def test_ply_and_tum_as_files(run, tmp_path):
    model = small_model()
    convert(run, tmp_path / "deep" / "cloud.ply", "ply")
    assert names_in(tmp_path / "deep") == ["cloud.ply"]
    cloud = read_cloud(tmp_path / "deep" / "cloud.ply")
    assert cloud.xyz == pytest.approx(model.xyz, abs=1e-4)
    assert (cloud.rgb == model.rgb).all()
    assert cloud.uncertainty is None
    convert(run, tmp_path / "cloud.v2", "ply")
    assert names_in(tmp_path / "cloud.v2") == ["convert.json", "points.ply"]
    convert(run, tmp_path / "path.tum", "tum")
    table = np.loadtxt(tmp_path / "path.tum")
    assert table[:, 0] == pytest.approx([(k + FIRST) / 25 for k in model.cam_from_world])
    centres = [-pose[:, :3].T @ pose[:, 3] for pose in model.cam_from_world.values()]
    assert table[:, 1:4] == pytest.approx(np.array(centres))
    assert np.linalg.norm(table[:, 4:], axis=1) == pytest.approx(np.ones(15))
    for name, target in (("CLOUD.PLY", "ply"), ("path.Txt", "tum")):
        convert(run, tmp_path / name, target)
        assert (tmp_path / name).is_file()
    # Without the times of a run, the frame numbers.
    done = convert(run / "sparse", tmp_path / "same.tum", "tum")
    assert (tmp_path / "same.tum").read_text() == (tmp_path / "path.tum").read_text()
    numbers = [k + FIRST for k in model.cam_from_world]
    content = json.loads((run / "frames.json").read_text())
    content["frames"] = [record | {"time_s": None} for record in content["frames"]]
    (run / "frames.json").write_text(json.dumps(content))
    done = convert(run, tmp_path / "images.tum", "tum")
    assert np.loadtxt(tmp_path / "images.tum")[:, 0].tolist() == numbers
    assert done.notes == ("the time of every pose is its frame number",)
    (run / "frames.json").unlink()
    done = convert(run, tmp_path / "numbers.tum", "tum")
    assert np.loadtxt(tmp_path / "numbers.tum")[:, 0].tolist() == numbers
    assert done.notes == ("the time of every pose is its frame number",)


def test_views_with_cameras_of_their_own(run, tmp_path):
    convert(run, tmp_path / "jhu", "jhu")
    path = tmp_path / "jhu" / "camera_intrinsics_per_view"
    values = np.array(path.read_text().split(), float).reshape(-1, 3)
    values[4, 0] = 120.0
    path.write_text("\n".join(map(str, values.ravel())))
    convert(tmp_path / "jhu", tmp_path / "colmap", "colmap")
    read = pycolmap.Reconstruction(str(tmp_path / "colmap"))
    assert len(read.cameras) == 2
    assert read.find_image_with_name("00000015.jpg").camera.params[0] == 120.0
    read.update_point_3d_errors()
    assert read.compute_mean_reprojection_error() < 1e-3
    convert(tmp_path / "colmap", tmp_path / "nerf", "nerfstudio", images=tmp_path / "jhu")
    content = json.loads((tmp_path / "nerf" / "transforms.json").read_text())
    assert "fl_x" not in content
    assert [f["fl_x"] for f in content["frames"]][3:6] == [100.0, 120.0, 100.0]
    convert(tmp_path / "colmap", tmp_path / "back", "jhu", images=tmp_path / "jhu")
    assert [c.fx for c in read_sequence(tmp_path / "back").cameras.values()] == [100.0] * 4 + [120.0] + [100.0] * 10


def test_names_without_numbers_are_numbered_in_order(tmp_path):
    model = small_model()
    letters = [Frame(k, tmp_path / f"{chr(97 + k)}.png", tmp_path, 0.0) for k in range(16)]
    write_model(tmp_path / "model", model, FrameSet(tuple(letters), CAMERA, 120))
    (tmp_path / "shots").mkdir()
    for frame in letters:
        write_image(tmp_path / "shots" / frame.path.name, texture(120, 160))
    done = convert(tmp_path / "model", tmp_path / "jhu", "jhu", images=tmp_path / "shots")
    assert any("numbered in their order" in note for note in done.notes)
    read = read_sequence(tmp_path / "jhu")
    assert read.frames == list(range(15))
    assert read.mask.all()


def distorted(folder, out):
    model = pycolmap.Reconstruction(str(folder))
    model.cameras[1].model = pycolmap.CameraModelId.OPENCV
    model.cameras[1].params = [100.0, 100.0, 80.0, 60.0, -0.2, 0.0, 0.0, 0.0]
    out.mkdir()
    model.write_binary(str(out))
    return out


def test_distorted_images_must_be_undistorted_first(run, tmp_path):
    bent = distorted(run / "sparse" / "0", tmp_path / "bent")
    for target in ("nerfstudio", "jhu"):
        with pytest.raises(InputError, match=r"camera model OPENCV.*colmap image_undistorter"):
            convert(bent, tmp_path / "out", target, images=run / "frames")
    convert(bent, tmp_path / "text", "colmap-text")
    assert "OPENCV 160 120" in (tmp_path / "text" / "cameras.txt").read_text()
    convert(bent, tmp_path / "out.tum", "tum")
    assert not (tmp_path / "out").exists()


def test_overwrite_replaces_only_what_convert_wrote(run, tmp_path):
    out = tmp_path / "out"
    convert(run, out, "nerfstudio")
    (out / "mine.txt").write_text("mine")
    (out / "images" / "mine.png").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        convert(run, out, "tum")
    assert (out / "transforms.json").is_file()
    convert(run, out, "tum", overwrite=True)
    assert names_in(out) == ["convert.json", "images", "mine.txt", "trajectory.tum"]
    assert names_in(out / "images") == ["mine.png"]
    assert json.loads((out / "convert.json").read_text())["files"] == ["trajectory.tum"]


def test_files_from_elsewhere_are_never_replaced(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "transforms.json").write_text("{}")
    with pytest.raises(OutputError, match=r"transforms\.json: exists and is not from dd-sfm convert"):
        convert(run, out, "nerfstudio", overwrite=True)
    assert names_in(out) == ["transforms.json"]
    assert (out / "transforms.json").read_text() == "{}"
    (tmp_path / "notes.txt").write_text("dear diary")
    with pytest.raises(OutputError, match="is not a tum file"):
        convert(run, tmp_path / "notes.txt", "tum", overwrite=True)
    (tmp_path / "list.json").write_text("{}")
    (out / "convert.json").write_text(json.dumps({"made_by": "dd-sfm convert", "files": ["../list.json", "/etc/x"]}))
    convert(run, out, "ply", overwrite=True)
    assert (tmp_path / "list.json").is_file()


@pytest.mark.parametrize(
    "text",
    ["a note of words that are eight long\n", "# a b c d e f g\n", "", "1 2 3 4 5 6 7\n", "# path\n1 2 3 4 5 6 7 x\n"],
)
def test_a_text_that_is_no_camera_path_is_never_replaced(run, tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(OutputError, match=r"notes\.txt: exists and is not a tum file"):
        convert(run, tmp_path / "notes.txt", "tum", overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == text


@pytest.mark.parametrize("head", ["", "# timestamp tx ty tz qx qy qz qw\n", "# made by\n\n#me\n"])
def test_a_camera_path_is_replaced_with_and_without_comments(run, tmp_path, head):
    path = tmp_path / "path.txt"
    path.write_text(f"{head}1305031102.1758 1.3405 0.6266 1.6575 0.6574 0.6126 -0.2949 -0.3248\n")
    convert(run, path, "tum", overwrite=True)
    assert len(np.loadtxt(path)) == 15


def test_a_failed_conversion_leaves_nothing(run, tmp_path):
    (run / "frames" / "00000020.png").unlink()
    with pytest.raises(InputError, match=r"1 of 15 images not found \('00000020\.png' is one\).*--images"):
        convert(run, tmp_path / "out", "nerfstudio")
    assert not (tmp_path / "out").exists()
    convert(run, tmp_path / "out", "tum")
    before = (tmp_path / "out" / "trajectory.tum").read_bytes()
    with pytest.raises(InputError, match="images not found"):
        convert(run, tmp_path / "out", "jhu", overwrite=True)
    assert names_in(tmp_path / "out") == ["convert.json", "trajectory.tum"]
    assert (tmp_path / "out" / "trajectory.tum").read_bytes() == before


def test_images_of_another_size(run, tmp_path):
    (tmp_path / "small").mkdir()
    for path in (run / "frames").iterdir():
        write_image(tmp_path / "small" / path.name, texture(60, 80))
    with pytest.raises(InputError, match="80x60 pixels; expected 160x120"):
        convert(run, tmp_path / "out", "nerfstudio", images=tmp_path / "small")


@pytest.mark.parametrize("target", ["nerfstudio", "colmap", "jhu"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_images_that_cannot_be_decoded(run, tmp_path, target, suffix):
    source, images = run, run / "frames"
    if suffix == "jpg":
        source, images = tmp_path / "model", tmp_path / "jhu"
        convert(run, images, "jhu")
        convert(images, source, "colmap")
    damaged = images / f"00000020.{suffix}"
    damaged.write_text("no image")
    with pytest.raises(InputError, match=rf"20\.{suffix}: not an image that can be decoded; .*--images"):
        convert(source, tmp_path / "out", target, images=images, copy_images=True)
    assert not (tmp_path / "out").exists()
    write_image(damaged, texture(60, 80))
    with pytest.raises(InputError, match=rf"20\.{suffix}: 80x60 pixels; expected 160x120.*--images"):
        convert(source, tmp_path / "out", target, images=images, copy_images=True)
    assert not (tmp_path / "out").exists()


def test_masks_that_cannot_be_decoded(run, tmp_path):
    (run / "masks" / "00000020.png.png").write_text("no image")
    for target in ("nerfstudio", "colmap"):
        with pytest.raises(InputError, match=r"20\.png\.png: not an image that can be decoded"):
            convert(run, tmp_path / "out", target, copy_images=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["colmap", "colmap-text"])
def test_damaged_models(run, tmp_path, kind):
    convert(run, tmp_path / "model", kind)
    suffix = "bin" if kind == "colmap" else "txt"
    points = tmp_path / "model" / f"points3D.{suffix}"
    whole = points.read_bytes()
    points.write_bytes(whole[:600])
    with pytest.raises(InputError, match=r"cut short or damaged|cannot be read|do not fit together"):
        convert(tmp_path / "model", tmp_path / "out", "ply")
    points.write_bytes(whole)
    (tmp_path / "model" / f"cameras.{suffix}").unlink()
    with pytest.raises(InputError, match=rf"cameras\.{suffix}: missing"):
        convert(tmp_path / "model", tmp_path / "out", "ply")


def test_a_model_without_points(tmp_path):
    model = small_model()
    none = np.zeros(0, np.int64)
    empty = replace(model, xyz=np.zeros((0, 3)), rgb=np.zeros((0, 3), np.uint8), error_px=np.zeros(0), point=none, frame=none, xy=np.zeros((0, 2)))  # fmt: skip # noqa: E501
    names = tuple(Frame(k, tmp_path / f"{k:08d}.png", tmp_path, 0.0) for k in range(16))
    write_model(tmp_path / "model", empty, FrameSet(names, CAMERA, 120))
    for target in ("colmap-text", "hloc", "ply", "tum"):
        assert convert(tmp_path / "model", tmp_path / target, target).points == 0


def test_the_source_is_never_the_target(run):
    with pytest.raises(ConfigError, match="is the source itself"):
        convert(run, run, "ply", overwrite=True)


def test_no_run_is_written_into(run, tmp_path):
    (run / "stages.json").write_text("{}")
    for place in (run, run / "sparse", run / "sparse" / "0", run / "frames", run / "evaluation"):
        source = tmp_path / "model" if place == run else run
        if place == run:
            convert(run, source, "colmap")
        with pytest.raises(OutputError, match=r"belongs to the run in .*run; expected another folder"):
            convert(source, place, "colmap-text", overwrite=True)
    for name in ("points.ply", "mesh.ply"):
        with pytest.raises(OutputError, match="belongs to the run"):
            convert(run, run / name, "ply", overwrite=True)
    assert convert(run, run / "for_splats", "tum").images
    assert convert(run, run / "path.tum", "tum").images


def test_a_real_sequence_there_and_back(shared_data, tmp_path):
    source = shared_data / "jhu_format" / "1" / "sinus_b"
    first = read_sequence(source)
    convert(source, tmp_path / "colmap", "colmap")
    convert(tmp_path / "colmap", tmp_path / "jhu", "jhu", images=source)
    second = read_sequence(tmp_path / "jhu")
    assert second.points == pytest.approx(first.points, rel=1e-6)
    for frame, camera in first.cameras.items():
        assert second.cameras[frame].matrix == pytest.approx(camera.matrix)
    for frame, pose in first.cam_from_world.items():
        assert second.cam_from_world[frame] == pytest.approx(pose, abs=1e-9)
        assert (second.points_seen[frame] == first.points_seen[frame]).all()
        assert second.image_paths[frame].read_bytes() == first.image_paths[frame].read_bytes()
