import re
import shutil
import warnings

import numpy as np
import pytest
from conftest import ROOT
from plane import write_truth
from plyfile import PlyData, PlyElement
from scipy.spatial.transform import Rotation

from dd_sfm.errors import InputError
from dd_sfm.evaluation.matching.reference import open_reference
from dd_sfm.io.images import write_mask
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.truth import read_rigid_truth, read_truth
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.rendered import open_rendered
from dd_sfm.training.sources.spec import DataPath


def write_jhu(folder, convention, *, numbers=3, frames=(10, 11, 12)):
    """Cameras side by side that look at a cloud of points."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-1, 1, (40, 2)), rng.uniform(4.5, 5.5, 40)]
    poses = []
    for k, _ in enumerate(frames):
        # Seen from the side and from afar, so that the wrong reading of a pose looks elsewhere.
        centre, target = np.array([10.0 + k, 1.0, -1.0]), np.array([0.0, 0.0, 5.0])
        forward = (target - centre) / np.linalg.norm(target - centre)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        poses.append((rotation.T, centre) if convention == "world_from_cam" else (rotation, -rotation @ centre))
    (folder / "selected_indexes").write_text("\n".join(map(str, frames)))
    (folder / "visible_view_indexes").write_text("\n".join(map(str, frames)))
    view = "300\n320.5\n240.5\n" if numbers == 3 else "300\n300\n320.5\n240.5\n"
    (folder / "camera_intrinsics_per_view").write_text(view * len(frames))
    text = "header:\n  seq: 0\nposes[]:\n"
    for k, (rotation, position) in enumerate(poses):
        q = Rotation.from_matrix(rotation).as_quat()
        text += (
            f"  poses[{k}]:\n    position:\n      x: {position[0]}\n      y: {position[1]}\n      z: {position[2]}\n"
        )
        text += f"    orientation:\n      x: {q[0]}\n      y: {q[1]}\n      z: {q[2]}\n      w: {q[3]}\n"
    (folder / "motion.yaml").write_text(text)
    vertex = np.array([tuple(p) for p in points], [("x", "f4"), ("y", "f4"), ("z", "f4")])
    PlyData([PlyElement.describe(vertex, "vertex")], text=True).write(folder / "structure.ply")
    rows = "".join("-1\n" + "".join(f"{f}\n" for f in frames[: 2 + p % 2]) for p in range(40))
    (folder / "view_indexes_per_point").write_text(rows)
    rows, columns = np.mgrid[:480, :640]
    write_mask(folder / "undistorted_mask.bmp", np.hypot(rows - 240, columns - 320) < 150)
    return points


@pytest.mark.parametrize("convention", ["world_from_cam", "cam_from_world"])
@pytest.mark.parametrize("numbers", [3, 4])
def test_both_conventions_are_told_apart(tmp_path, convention, numbers):
    points = write_jhu(tmp_path / "s", convention, numbers=numbers)
    read = read_sequence(tmp_path / "s")
    assert read.convention == convention
    assert read.points == pytest.approx(points, abs=1e-5)
    pose = read.cam_from_world[12]
    local = points @ pose[:, :3].T + pose[:, 3]
    assert local[:, 2].min() > 3
    assert read.cameras[10].principal_point == pytest.approx([320, 240])
    assert len(read.points_seen[10]) == 40
    assert read.points_seen[12].tolist() == list(range(1, 40, 2))


def test_poses_that_reproject_nowhere(tmp_path):
    write_jhu(tmp_path / "s", "world_from_cam")
    path = tmp_path / "s" / "motion.yaml"
    path.write_text(path.read_text().replace("position:\n      x: ", "position:\n      x: 9"))
    with pytest.raises(InputError, match="poses do not reproject"):
        read_sequence(tmp_path / "s")


def test_missing_file_of_a_sequence(tmp_path):
    write_jhu(tmp_path / "s", "world_from_cam")
    (tmp_path / "s" / "structure.ply").unlink()
    with pytest.raises(InputError, match="not a complete JHU sequence"):
        read_sequence(tmp_path / "s")


def damage(path, pattern, replacement):
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert changed != text
    path.write_text(changed)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "says"),
    [
        ("motion.yaml", r"w: \S+", "w: 1e", "could not convert string to float: '1e'; expected numbers"),
        ("motion.yaml", r"x: \S+", "x: 1e999", "pose 0 is inf .*expected a finite position"),
        (
            "motion.yaml",
            r"orientation:.*?w: \S+",
            "orientation:\n x: 0\n y: 0\n z: 0\n w: 0",
            "pose 0 is 10 1 -1 0 0 0 0; .* a quaternion other than zero",
        ),
        ("motion.yaml", r"w: \S+", "", "2 poses; expected 3, one a visible view"),
        ("structure.ply", "element vertex", "element corner", "no vertices; expected vertices with x, y and z"),
        ("structure.ply", "property float x", "property float u", "vertices of u, y, z; expected vertices with x"),
        ("structure.ply", "property float x", "property list uchar float x", "not a complete JHU sequence"),
        ("structure.ply", "vertex 40", "vertex 99999999999999", "not a complete JHU sequence"),
        ("structure.ply", r"end_header\n\S+", "end_header\nnan", "point 0 is nan .*expected finite numbers"),
        ("view_indexes_per_point", r"$", "\n-1\n10\n", "41 points; expected at most 40 points as in structure.ply"),
        ("view_indexes_per_point", r"^-1\n", "", "10 first; .* each starting with -1"),
        ("view_indexes_per_point", "10", "9" * 30, "not a complete JHU sequence"),
        ("visible_view_indexes", "11", "10", "frame 10 is listed twice; expected every frame once"),
        ("camera_intrinsics_per_view", "320.5", "nan", r"view 0 has 300 300 nan 240.5 \(fx, fy, cx, cy\); expected"),
        ("camera_intrinsics_per_view", "300", "0", "view 0 has 0 0 320.5 240.5 .*focal lengths above 0"),
        ("camera_intrinsics_per_view", "300", "f", "could not convert string to float: 'f'; expected numbers"),
    ],
)
def test_a_damaged_sequence_names_its_file(tmp_path, name, pattern, replacement, says):
    write_jhu(tmp_path / "s", "world_from_cam")
    damage(tmp_path / "s" / name, pattern, replacement)
    with pytest.raises(InputError, match=rf": {says}") as error:
        read_sequence(tmp_path / "s")
    assert name in str(error.value) or "not a complete" in says


def test_a_point_far_away_falls_outside_the_mask(tmp_path):
    write_jhu(tmp_path / "s", "world_from_cam")
    damage(tmp_path / "s" / "structure.ply", r"end_header\n\S+", "end_header\n3e38")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_sequence(tmp_path / "s").points) == 40


def test_real_sequences(shared_data):
    for name, frames in (("sinus_a", 190), ("sinus_b", 35)):
        read = read_sequence(shared_data / "jhu_format" / "1" / name)
        assert read.convention == "world_from_cam"
        assert len(read.cam_from_world) == frames


def test_rendered_truth_maps_a_frame_onto_itself_and_back(shared_data):
    truth = read_truth(shared_data / "synthetic" / "sinus")
    rng = np.random.default_rng(0)
    xy = np.argwhere(truth.mask)[rng.integers(truth.mask.sum(), size=500)][:, ::-1].astype(float)
    same, visible = truth.correspondences(20, 20, xy)
    assert visible.mean() > 0.95
    assert same[visible] == pytest.approx(xy[visible], abs=1e-6)
    there, visible = truth.correspondences(20, 30, xy)
    back, again = truth.correspondences(30, 20, there[visible])
    # Depth is read at the nearest pixel, so the way back is right to a pixel but for edges.
    assert np.median(np.linalg.norm(back - xy[visible], axis=1)[again]) < 0.2


def test_no_truth(tmp_path):
    with pytest.raises(InputError, match=r"no readable truth\.npz"):
        read_truth(tmp_path)


def change_truth(folder, changes):
    with np.load(folder / "truth.npz") as content:
        arrays = dict(content)
    np.savez(folder / "truth.npz", **arrays | changes(arrays))


def nan_at(values, place):
    values[place] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (lambda t: {"R": t["R"][:10], "c": t["c"][:10]}, "depth of frames 0 to 15; expected frames from 0 to 9"),
        (lambda t: {"depth_frames": t["depth_frames"] - 1}, "depth of frames -1 to 14; expected frames from 0 to 15"),
        (lambda t: {"c": t["c"][:1]}, r"c has the shape \(1, 3\); expected \(16, 3\), as there are 16 poses"),
        (lambda t: {"R": t["R"][:10]}, r"c has the shape \(16, 3\); expected \(10, 3\)"),
        (lambda t: {"depth_frames": t["depth_frames"][:2]}, r"depth_frames has the shape \(2\); expected \(4\)"),
        (lambda t: {"depth": t["depth"][0]}, r"depth has the shape \(120, 160\); expected \(120, H, W\)"),
        (lambda t: {"K": np.eye(2)}, r"K has the shape \(2, 2\); expected \(3, 3\)"),
        (lambda t: {"distortion": np.zeros(2)}, r"distortion has the shape \(2\); expected \(4\)"),
        (lambda t: {"depth_unit_mm": np.ones(160)}, r"depth_unit_mm has the shape \(160\); expected \(\)"),
        (lambda t: {"c": nan_at(t["c"], (3, 1))}, "c holds values that are not finite numbers"),
        (lambda t: {"R": nan_at(t["R"], (3, 1, 1))}, "R holds values that are not finite numbers"),
        (lambda t: {"K": nan_at(t["K"], (0, 0))}, "K holds values that are not finite numbers"),
        (lambda t: {"c": t["c"].astype(str)}, "c holds values that are not finite numbers"),
        (lambda t: {"deformation": np.nan}, "deformation holds values that are not finite numbers"),
    ],
)
def test_truth_that_does_not_fit_together(tmp_path, changes, says):
    change_truth(write_truth(tmp_path / "clip"), changes)
    with pytest.raises(InputError, match=rf"clip/truth\.npz: {says}"):
        read_truth(tmp_path / "clip")


def test_truth_of_another_size_than_the_mask(tmp_path):
    folder = write_truth(tmp_path / "clip")
    write_mask(folder / "mask.png", np.ones((60, 80), bool))
    with pytest.raises(InputError, match=r"mask\.png: 80x60 pixels; expected 160x120, the size of the depth"):
        read_truth(folder)
    none = {"depth": np.zeros((0, 0, 0), np.uint16), "depth_frames": np.zeros(0, np.int64)}
    change_truth(folder, lambda _: none)
    assert read_truth(folder).mask.shape == (60, 80)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_truth_cut_short(tmp_path, share):
    path = write_truth(tmp_path / "clip") / "truth.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"no readable truth\.npz"):
        read_truth(tmp_path / "clip")


@pytest.fixture
def moving_clip(tmp_path):
    """The demo clip, said to be of tissue that moves."""
    shutil.copytree(ROOT / "demo_videos" / "sinus", tmp_path / "clip")
    with np.load(tmp_path / "clip" / "truth.npz") as truth:
        arrays = {name: truth[name] for name in truth.files if name != "deformation"}
    np.savez(tmp_path / "clip" / "truth.npz", **arrays, deformation=0.5)
    return tmp_path / "clip"


def test_truth_says_whether_the_tissue_moves(moving_clip):
    assert read_truth(moving_clip).deformation == 0.5
    # Older clips do not say: --deformation is not among what a demo clip was made with.
    assert read_rigid_truth(ROOT / "demo_videos" / "sinus").deformation == 0.0


@pytest.mark.parametrize(
    "open_clip",
    [
        read_rigid_truth,
        lambda folder: open_rendered(DataPath(folder), TrainConfig()),
        lambda folder: open_reference(str(folder), 250),
    ],
    ids=["truth", "train", "evaluate matching"],
)
def test_moving_tissue_has_no_correspondences(moving_clip, open_clip):
    with pytest.raises(InputError, match=r"clip: the tissue moves \(deformation 0\.5 mm\).*expected a clip without"):
        open_clip(moving_clip)
