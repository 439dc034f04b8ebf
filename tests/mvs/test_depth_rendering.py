"""Depth drawn from a cloud."""

import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.mvs.depth_rendering import SurfaceDiscs
from dd_sfm.structures import PointCloud

CAMERA = PinholeCamera(120, 90, 100.0, 100.0, 59.5, 44.5)
AT_ORIGIN = np.eye(4)[:3]


def cloud_of(xyz, normals, uncertainty=None):
    count = len(xyz)
    grey, ones = np.full((count, 3), 128, np.uint8), np.ones(count)
    return PointCloud(xyz, grey, normals, ones, ones.astype(int), uncertainty=uncertainty)


def plane(depth, slope=0.0, half=12.0, spacing=0.3):
    """Points on z = depth + slope x, and their normals."""
    x, y = (side.ravel() for side in np.meshgrid(*2 * (np.arange(-half, half, spacing),)))
    normal = np.array([slope, 0.0, -1.0]) / np.hypot(slope, 1)
    return np.stack([x, y, depth + slope * x], 1), np.tile(normal, (len(x), 1))


def true_depth(depth, slope):
    """Where the rays of the pixels meet the plane."""
    across = (np.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx
    return np.tile(depth / (1 - slope * across), (CAMERA.height, 1))


@pytest.mark.parametrize("slope", [0.0, 0.5, -1.0])
def test_a_plane_has_its_depth_and_normal_everywhere(slope):
    drawn = SurfaceDiscs(cloud_of(*plane(20.0, slope, half=24.0))).render(CAMERA, AT_ORIGIN)
    inner = drawn.depth[5:-5, 5:-5]
    assert (inner > 0).mean() > 0.99
    known = inner > 0
    assert np.abs(inner / true_depth(20.0, slope)[5:-5, 5:-5] - 1)[known].max() < 0.01
    expected = np.array([slope, 0, -1]) / np.hypot(slope, 1)
    found = drawn.normals[:, 5:-5, 5:-5][:, known]
    assert np.median((found * expected[:, None]).sum(0)) > 0.99
    assert not drawn.normals[:, drawn.depth == 0].any()
    assert not drawn.sigma[drawn.depth == 0].any()


def test_a_pose_moves_the_camera():
    back = np.column_stack([np.eye(3), [0, 0, 5.0]])
    drawn = SurfaceDiscs(cloud_of(*plane(20.0))).render(CAMERA, back)
    assert np.median(drawn.depth[drawn.depth > 0]) == pytest.approx(25, rel=1e-4)


def test_what_is_behind_is_hidden_and_what_floats_in_front_is_not_drawn():
    rng = np.random.default_rng(0)
    near, far = plane(10.0, half=2.0, spacing=0.2), plane(20.0)
    floating = np.column_stack([rng.uniform(-1, 1, (15, 2)), np.full(15, 5.0)])
    xyz = np.concatenate([near[0], far[0], floating])
    normals = np.concatenate([near[1], far[1], np.tile([0, 0, -1.0], (15, 1))])
    uncertainty = np.concatenate([np.full(len(near[0]) + len(far[0]), 0.01), np.full(15, 0.05)])
    drawn = SurfaceDiscs(cloud_of(xyz, normals, uncertainty)).render(CAMERA, AT_ORIGIN)
    columns = np.abs(np.arange(CAMERA.width) - CAMERA.cx)
    rows = np.abs(np.arange(CAMERA.height) - CAMERA.cy)
    farther = np.maximum(columns[None], rows[:, None])
    assert np.median(drawn.depth[farther < 16]) == pytest.approx(10, rel=0.01)
    assert (np.abs(drawn.depth[farther < 16] - 10) < 0.2).mean() > 0.98
    beyond = drawn.depth[(farther > 26) & (rows[:, None] < 40) & (columns[None] < 54)]
    assert (np.abs(beyond - 20) < 0.2).mean() > 0.98
    assert (drawn.depth[drawn.depth > 0] > 9).all()


def test_sure_points_count_for_more():
    xyz, normals = plane(20.0)
    shifted = xyz + np.array([0.1, 0.1, 0.4])
    uncertainty = np.repeat([0.002, 0.02], len(xyz))
    discs = SurfaceDiscs(cloud_of(np.concatenate([xyz, shifted]), np.concatenate([normals, normals]), uncertainty))
    drawn = discs.render(CAMERA, AT_ORIGIN)
    assert np.median(drawn.depth[drawn.depth > 0]) == pytest.approx(20, abs=0.02)
    assert np.median(drawn.sigma[drawn.depth > 0]) == pytest.approx(0.002, rel=0.2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_nothing_is_no_surface(count):
    xyz = np.column_stack([np.zeros(count), np.zeros(count), 20.0 + np.arange(count)])
    uncertainty = np.full(count, np.nan)
    for known in (None, uncertainty):
        drawn = SurfaceDiscs(cloud_of(xyz, np.tile([0, 0, -1.0], (count, 1)), known)).render(CAMERA, AT_ORIGIN)
        assert not drawn.depth.any()
