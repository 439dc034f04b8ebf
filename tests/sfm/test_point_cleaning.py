"""Points that show one place twice, or hang alone in space."""

import numpy as np
import pytest
from scene import make_scene

from dd_sfm.sfm.point_cleaning import drop_duplicates, drop_isolated, not_isolated
from dd_sfm.structures import Model


@pytest.fixture(scope="module")
def truth():
    """A model without errors."""
    return make_scene(points=800, outliers=0.2)[2]


def test_the_same_surface_point_is_kept_once(truth):
    twice = Model(
        truth.camera, truth.cam_from_world, np.concatenate([truth.xyz, truth.xyz + 1e-4]),
        np.zeros((2 * len(truth.xyz), 3), np.uint8), np.zeros(2 * len(truth.xyz)),
        np.concatenate([truth.point, truth.point + len(truth.xyz)]), np.concatenate([truth.frame] * 2),
        np.concatenate([truth.xy, truth.xy + 0.1]),
    )  # fmt: skip
    seen = len(np.unique(truth.point))
    kept = drop_duplicates(twice)
    assert 0.97 * seen <= len(np.unique(kept.point)) <= seen


def test_lonely_points_go_and_thin_structures_stay(truth):
    rng = np.random.default_rng(0)
    wire = np.c_[np.linspace(-0.3, 0.3, 60), np.zeros(60), np.full(60, 8.0)]
    lonely = np.c_[rng.uniform(-0.5, 0.5, (5, 2)), [20.0, 24.0, 29.0, 34.0, 40.0]]
    xyz = np.concatenate([truth.xyz, wire, lonely])
    extra = np.arange(len(truth.xyz), len(xyz))
    point = np.concatenate([truth.point, np.repeat(extra, 4)])
    frame = np.concatenate([truth.frame, np.tile([0, 1, 2, 3], len(extra))])
    model = Model(
        truth.camera, truth.cam_from_world, xyz, np.zeros((len(xyz), 3), np.uint8), np.zeros(len(xyz)), point, frame,
        np.zeros((len(point), 2)),
    )  # fmt: skip
    kept = {tuple(p) for p in drop_isolated(model).xyz}
    assert all(tuple(p) in kept for p in wire)
    assert sum(tuple(p) in kept for p in lonely) <= 1
    assert len(kept) > 0.95 * len(truth.xyz)


def test_points_are_looked_at_in_parts(truth, monkeypatch):
    whole = not_isolated(truth)
    monkeypatch.setattr("dd_sfm.sfm.point_cleaning.POINTS", 77)
    assert (not_isolated(truth) == whole).all()
    assert not whole.all()
