import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.io.colmap_model import read_model, write_model
from dd_sfm.structures import Frame, FrameSet, Model

CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 319.5, 240.0)


def small_model(tmp_path, points=50, frames=5, seed=0):
    rng = np.random.default_rng(seed)
    xyz = np.c_[rng.uniform(-1, 1, (points, 2)), rng.uniform(4, 6, points)]
    poses = {
        f: np.column_stack([Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix(), rng.normal(0, 0.3, 3)])
        for f in range(1, frames)
    }
    seen = [(p, f) for p in range(points) for f in poses if rng.random() < 0.7 or f == 1]
    point, frame = np.array(seen).T
    local = np.einsum("oij,oj->oi", np.stack([poses[f][:, :3] for f in frame]), xyz[point])
    local += np.stack([poses[f][:, 3] for f in frame])
    xy = local[:, :2] / local[:, 2:] * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]
    rgb = rng.integers(0, 255, (points, 3)).astype(np.uint8)
    model = Model(CAMERA, poses, xyz, rgb, rng.random(points), point, frame, xy)
    names = tuple(Frame(f * 10, tmp_path / f"{f * 10:08d}.png", tmp_path / "m.png", f / 30) for f in range(frames))
    return model, FrameSet(names, CAMERA, 480)


def test_pycolmap_reads_what_was_written(tmp_path):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "0", model, frames)
    read = pycolmap.Reconstruction(str(tmp_path / "0"))
    assert read.num_reg_images() == 4
    assert read.num_points3D() == 50
    assert read.compute_num_observations() == len(model.point)
    # The observations are exact projections, so any slip of half a pixel or of an index would show.
    read.update_point_3d_errors()
    assert read.compute_mean_reprojection_error() < 1e-6
    image = next(i for i in read.images.values() if i.name == "00000020.png")
    assert image.cam_from_world().matrix() == pytest.approx(model.cam_from_world[2])
    assert tuple(read.points3D[7].color) == tuple(model.rgb[6])


def test_round_trip(tmp_path):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "0", model, frames)
    read = read_model(tmp_path / "0", {f.path.name: k for k, f in enumerate(frames.frames)})
    assert read.camera == model.camera
    assert read.xyz == pytest.approx(model.xyz)
    assert (read.rgb == model.rgb).all()
    assert (read.point == model.point).all()
    assert (read.frame == model.frame).all()
    assert read.xy == pytest.approx(model.xy)
    for frame, pose in model.cam_from_world.items():
        assert read.cam_from_world[frame] == pytest.approx(pose)


def test_an_image_of_no_frame_is_told(tmp_path):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "0", model, frames)
    with pytest.raises(InputError, match="which is none of the frames"):
        read_model(tmp_path / "0", {frames.frames[0].path.name: 0})


def test_frame_numbers_may_be_times_in_nanoseconds(tmp_path):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "0", model, frames)
    small = {f.path.name: k for k, f in enumerate(frames.frames)}
    large = {name: 1_403_636_579_763_555_584 + 50_000_000 * k for name, k in small.items()}
    read = read_model(tmp_path / "0", large)
    assert (read.point == model.point).all()
    assert read.frame.tolist() == [list(large.values())[k] for k in model.frame]


def test_through_colmaps_text_format(tmp_path):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "binary", model, frames)
    (tmp_path / "text").mkdir()
    (tmp_path / "again").mkdir()
    pycolmap.Reconstruction(str(tmp_path / "binary")).write_text(str(tmp_path / "text"))
    pycolmap.Reconstruction(str(tmp_path / "text")).write_binary(str(tmp_path / "again"))
    read = read_model(tmp_path / "again")
    assert len(read.xyz) == 50
    assert len(read.point) == len(model.point)


def test_empty_model(tmp_path):
    model, frames = small_model(tmp_path)
    nothing = np.zeros(0, np.int64)
    empty = Model(
        CAMERA, model.cam_from_world, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), nothing, nothing,
        np.zeros((0, 2)),
    )  # fmt: skip
    write_model(tmp_path / "0", empty, frames)
    assert pycolmap.Reconstruction(str(tmp_path / "0")).num_reg_images() == 4
    assert len(read_model(tmp_path / "0").xyz) == 0


@pytest.mark.parametrize("broken", ["missing", "short"])
def test_broken_model_is_one_clear_line(tmp_path, broken):
    model, frames = small_model(tmp_path)
    write_model(tmp_path / "0", model, frames)
    file = tmp_path / "0" / "points3D.bin"
    if broken == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    what = {"missing": "not found", "short": "cut short or damaged"}[broken]
    with pytest.raises(InputError, match=rf"points3D\.bin: {what}; expected that of a complete binary COLMAP model"):
        read_model(tmp_path / "0")


@pytest.mark.slow
def test_a_million_observations_need_little_memory(tmp_path):
    import tracemalloc

    points, views = 200_000, 5
    rng = np.random.default_rng(0)
    poses = {f: np.column_stack([np.eye(3), [0.1 * f, 0, 0]]) for f in range(views)}
    point, frame = np.repeat(np.arange(points), views), np.tile(np.arange(views), points)
    model = Model(
        CAMERA, poses, rng.normal(size=(points, 3)), np.zeros((points, 3), np.uint8), np.ones(points), point, frame,
        rng.uniform(0, 480, (len(point), 2)),
    )  # fmt: skip
    frames = small_model(tmp_path, frames=views)[1]
    tracemalloc.start()
    write_model(tmp_path / "big", model, frames)
    read = read_model(tmp_path / "big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(read.point) == len(point)
    assert peak < 600e6
