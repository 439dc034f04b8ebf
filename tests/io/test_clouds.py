import numpy as np
import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.clouds import read_cloud, write_cloud
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
