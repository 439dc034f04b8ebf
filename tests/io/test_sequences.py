import shutil

import numpy as np
import pytest
from conftest import ROOT
from plyfile import PlyData, PlyElement
from scipy.spatial.transform import Rotation

from dd_sfm.errors import InputError
from dd_sfm.evaluation.reference import open_reference
from dd_sfm.io.images import write_mask
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.truth import read_still_truth, read_truth
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
    assert read.intrinsics(10)[:2, 2] == pytest.approx([320, 240])
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
    assert read_still_truth(ROOT / "demo_videos" / "sinus").deformation == 0.0


@pytest.mark.parametrize(
    "open_clip",
    [
        read_still_truth,
        lambda folder: open_rendered(DataPath(folder), TrainConfig()),
        lambda folder: open_reference(str(folder), 250),
    ],
    ids=["truth", "train", "evaluate matching"],
)
def test_moving_tissue_has_no_correspondences(moving_clip, open_clip):
    with pytest.raises(InputError, match=r"clip: the tissue moves \(deformation 0\.5 mm\).*expected a clip without"):
        open_clip(moving_clip)
