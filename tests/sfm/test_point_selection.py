"""Parts of a model, and how far away its points are."""

import numpy as np
import pytest
from scene import make_scene

from dd_sfm.sfm.point_selection import concatenate_points, depths, select_points, spread_subset, take_points


@pytest.fixture(scope="module")
def truth():
    """A model without errors."""
    return make_scene(points=800, outliers=0.2)[2]


def test_subset_covers_every_frame(truth):
    part = spread_subset(select_points(truth, np.ones(len(truth.xyz), bool)), (960, 720), 40)
    assert len(part.xyz) < len(truth.xyz)
    assert set(np.unique(part.frame)) == set(truth.cam_from_world)


def test_depth_is_the_median_distance(truth):
    centre = {k: -p[:, :3].T @ p[:, 3] for k, p in truth.cam_from_world.items()}
    point = int(truth.point[0])
    distances = [np.linalg.norm(truth.xyz[point] - centre[f]) for f in truth.frame[truth.point == point]]
    assert depths(truth)[point] == pytest.approx(sorted(distances)[len(distances) // 2])


def test_models_put_together_keep_what_masks_leave(truth):
    some = np.arange(len(truth.xyz)) % 3 > 0
    models = [truth, select_points(truth, some)]
    masks = [np.random.default_rng(k).random(len(m.xyz)) < 0.6 for k, m in enumerate(models)]
    expected = concatenate_points(*(select_points(m, k) for m, k in zip(models, masks, strict=True)))
    found = take_points(models, masks)
    assert models == []
    for name in ("xyz", "rgb", "error_px", "point", "frame", "xy"):
        column, wanted = getattr(found, name), getattr(expected, name)
        assert column.dtype == wanted.dtype
        assert np.array_equal(column, wanted)
    assert np.array_equal(found.xyz[found.point][:9], truth.xyz[masks[0]][found.point[:9]])
