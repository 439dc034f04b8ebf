import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.colmap_model import write_model
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px, widest_angles_deg
from dd_sfm.sfm.observation_geometry import model_angles_deg, model_errors_px
from dd_sfm.sfm.point_cloud import point_normals
from dd_sfm.sfm.point_selection import depths, spread_subset
from dd_sfm.structures import Frame, FrameSet, Model


def model(count=60):
    """Points in front of six cameras, each with 1 to 6 observations, off by a pixel or so."""
    rng = np.random.default_rng(0)
    camera = PinholeCamera(640, 480, 500, 500, 320, 240)
    poses = {f: np.column_stack([np.eye(3), [-0.3 * f, 0, 0]]) for f in range(6)}
    xyz = rng.uniform((-1, -1, 4), (1, 1, 6), (count, 3))
    views = rng.integers(1, 7, count)
    point = np.repeat(np.arange(count), views)
    frame = np.concatenate([np.sort(rng.permutation(6)[:n]) for n in views])
    shift = np.stack([0.3 * frame, 0 * frame, 0 * frame], 1)
    xy = camera.project(xyz[point] - shift)[0] + rng.normal(0, 1, (len(point), 2))
    return Model(camera, poses, xyz, np.zeros((count, 3), np.uint8), np.ones(count), point, frame, xy)


def test_blocks_hold_whole_points_and_all_of_them():
    whole = model()
    for most in (1, 7, 50, 10_000):
        parts = list(point_blocks(whole, most))
        assert np.array_equal(np.concatenate([p.xyz for p in parts]), whole.xyz)
        assert np.array_equal(np.concatenate([p.xy for p in parts]), whole.xy)
        assert all(len(p.point) <= max(most, 6) and p.point[0] == 0 and p.point[-1] == len(p.xyz) - 1 for p in parts)
    assert len(parts) == 1


def test_what_is_measured_in_blocks_is_what_is_measured_at_once(monkeypatch):
    whole = model()
    normals, distance, spread = point_normals(whole), depths(whole), spread_subset(whole, (640, 480), 90)
    monkeypatch.setattr(point_blocks, "__defaults__", (20,))
    monkeypatch.setattr("dd_sfm.sfm.point_cloud.POINTS", 7)
    rays = model_rays(whole)
    assert np.array_equal(model_errors_px(whole), reprojection_errors_px(rays, whole.xyz))
    assert np.array_equal(model_angles_deg(whole), widest_angles_deg(rays, whole.xyz))
    assert np.allclose(point_normals(whole), normals)
    assert np.array_equal(depths(whole), distance)
    assert len(spread.xyz) < len(whole.xyz)
    assert np.array_equal(spread_subset(whole, (640, 480), 90).xyz, spread.xyz)


def test_a_model_written_in_blocks_is_the_model_written_at_once(monkeypatch, tmp_path):
    whole = model()
    frames = FrameSet(tuple(Frame(f, tmp_path / f"{f}.png", tmp_path, 0.0) for f in range(6)), whole.camera, 480)
    write_model(tmp_path / "once", whole, frames)
    monkeypatch.setattr(point_blocks, "__defaults__", (20,))
    write_model(tmp_path / "parts", whole, frames)
    for name in ("images.bin", "points3D.bin"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
