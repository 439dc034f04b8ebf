"""Expected errors by the points around."""

import numpy as np
import pytest

from dd_sfm.mvs import neighbours
from dd_sfm.mvs.neighbours import MAX_SPARSENESS, ROUGHNESS, SHARE, SPARSENESS, uncertainty_among_neighbours

SPACING = 0.01


def plane(step, side=40, noise=0.0):
    """Points of a plane at depth 1, and their depths."""
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * step
    return np.column_stack([xy, 1 + noise * rng.normal(size=len(xy))]), np.ones(len(xy))


def expected(xyz, depth, own=0.004):
    return uncertainty_among_neighbours(xyz, depth, np.full(len(xyz), own), SPACING)


def test_points_of_a_plane_are_nearly_as_sure_as_they_say():
    found = expected(*plane(0.004))
    assert np.median(found) == pytest.approx(SHARE * 0.004)
    assert (found >= SHARE * 0.004 - 1e-12).all()


def test_points_that_scatter_are_less_sure():
    found = np.median(expected(*plane(0.004, noise=0.001), own=0.001))
    # The nearest plane takes up a little of the noise.
    assert found == pytest.approx(SHARE * np.hypot(0.001, ROUGHNESS * 0.001), rel=0.1)


def test_points_with_few_around_are_less_sure_up_to_a_limit():
    near, far, alone = (np.median(expected(*plane(step))) for step in (0.01, 0.02, 1.0))
    assert far / near == pytest.approx(2**SPARSENESS)
    assert alone / (SHARE * 0.004) == pytest.approx(MAX_SPARSENESS**SPARSENESS)


def test_the_unit_of_length_and_blocks_do_not_matter(monkeypatch):
    xyz, depth = plane(0.004, noise=0.002)
    found = expected(xyz, depth)
    assert expected(1e3 * xyz, 1e3 * depth) == pytest.approx(found)
    monkeypatch.setattr(neighbours, "AT_ONCE", 7)
    assert expected(xyz, depth) == pytest.approx(found)


def test_too_few_points_are_left_as_they_are():
    xyz, depth = plane(0.004)
    assert expected(xyz[:20], depth[:20]) == pytest.approx(0.004)
    assert expected(xyz[:0], depth[:0]).shape == (0,)
