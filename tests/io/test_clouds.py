import numpy as np
import pytest
from plyfile import PlyData

from dd_sfm.errors import InputError, ShapeError
from dd_sfm.io.clouds import QUALITY_PROPERTIES, VERTEX, read_cloud, write_cloud, write_mesh
from dd_sfm.structures import PointCloud


def test_round_trip_and_header(tmp_path):
    rng = np.random.default_rng(0)
    cloud = PointCloud(
        rng.normal(size=(9, 3)),
        rng.integers(0, 255, (9, 3)).astype(np.uint8),
        np.tile([0.0, 0.0, -1.0], (9, 1)),
        rng.random(9),
        rng.integers(3, 20, 9),
    )
    path = tmp_path / "points.ply"
    write_cloud(path, cloud)
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "format binary_little_endian 1.0" in header
    names = [line.split()[-1] for line in header.splitlines() if line.startswith("property")]
    assert names == ["x", "y", "z", "red", "green", "blue", "nx", "ny", "nz", "error_px", "track_length"]
    read = read_cloud(path)
    assert read.xyz == pytest.approx(cloud.xyz, abs=1e-6)
    assert (read.rgb == cloud.rgb).all()
    assert (read.track_length == cloud.track_length).all()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_coloured", [False, True])
def test_a_mesh_is_what_plyfile_writes(tmp_path, is_coloured):
    rng = np.random.default_rng(0)
    corners, faces = rng.random((20, 3)), rng.integers(0, 20, (9, 3))
    rgb = rng.integers(0, 255, (20, 3)).astype(np.uint8) if is_coloured else None
    write_mesh(tmp_path / "mesh.ply", corners, faces, -corners, rgb, comments=["ours"])
    read = PlyData.read(tmp_path / "mesh.ply")
    assert np.stack(read["face"]["vertex_indices"]) == pytest.approx(faces)
    read.write(tmp_path / "again.ply")
    assert (tmp_path / "mesh.ply").read_bytes() == (tmp_path / "again.ply").read_bytes()


def cloud_of(count, **trust):
    return PointCloud(
        np.arange(3.0 * count).reshape(count, 3), np.zeros((count, 3), np.uint8), np.zeros((count, 3)), np.zeros(count),
        np.full(count, 3), **trust,
    )  # fmt: skip


@pytest.mark.parametrize("known", [(), ("triangulation_angle_deg",), ("uncertainty",), QUALITY_PROPERTIES])
def test_what_is_known_of_trust_is_written_and_nothing_else(tmp_path, known):
    values = {"triangulation_angle_deg": np.array([1.5, 9.0]), "uncertainty": np.array([0.01, 0.004])}
    write_cloud(tmp_path / "points.ply", cloud_of(2, **{name: values[name] for name in known}))
    header = (tmp_path / "points.ply").read_bytes().split(b"end_header")[0].decode()
    names = [line.split()[-1] for line in header.splitlines() if line.startswith("property")]
    assert names[:11] == list(VERTEX.names)
    assert names[11:] == list(known)
    read = read_cloud(tmp_path / "points.ply")
    assert read.track_length.tolist() == [3, 3]
    for name in QUALITY_PROPERTIES:
        if name in known:
            assert getattr(read, name) == pytest.approx(values[name], rel=1e-6)
        else:
            assert getattr(read, name) is None


def test_trust_of_another_length_is_refused():
    with pytest.raises(ShapeError, match=r"uncertainty \(3,\); expected \(2,\)"):
        cloud_of(2, uncertainty=np.zeros(3))
    with pytest.raises(ShapeError, match="triangulation_angle_deg"):
        cloud_of(2, triangulation_angle_deg=np.zeros((2, 1)))


def test_empty_cloud(tmp_path):
    empty = PointCloud(
        np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64)
    )
    write_cloud(tmp_path / "points.ply", empty)
    assert len(read_cloud(tmp_path / "points.ply").xyz) == 0


def test_not_a_ply(tmp_path):
    path = tmp_path / "points.ply"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a PLY"):
        read_cloud(path)
