"""Expected errors by the points around."""

import numpy as np
import pytest

from dd_sfm.mvs import neighbours
from dd_sfm.mvs.neighbours import CENTRING, MOST_STEPS, SCATTER_WEIGHT, SPARSE_POWER, uncertainty_among_neighbours

SPACING = 0.01


def plane(step, side=40, noise=0.0):
    """Points of a plane at depth 1, and their depths."""
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * step
    return np.column_stack([xy, 1 + noise * rng.normal(size=len(xy))]), np.ones(len(xy))


def expected(xyz, depth, own=0.004, scale=1.0):
    return uncertainty_among_neighbours(xyz, depth, np.full(len(xyz), own), SPACING, scale)


def test_points_of_a_plane_are_nearly_as_sure_as_they_say():
    found = expected(*plane(0.004))
    assert np.median(found) == pytest.approx(CENTRING * 0.004)
    assert (found >= CENTRING * 0.004 - 1e-12).all()


def test_points_that_scatter_are_less_sure():
    found = np.median(expected(*plane(0.004, noise=0.001), own=0.001))
    # The nearest plane takes up a little of the noise.
    assert found == pytest.approx(CENTRING * np.hypot(0.001, SCATTER_WEIGHT * 0.001), rel=0.1)


def test_points_with_few_around_are_less_sure_up_to_a_limit():
    near, far, alone = (np.median(expected(*plane(step))) for step in (0.01, 0.02, 1.0))
    assert far / near == pytest.approx(2**SPARSE_POWER)
    assert alone / (CENTRING * 0.004) == pytest.approx(MOST_STEPS**SPARSE_POWER)


def test_the_unit_of_length_and_blocks_do_not_matter(monkeypatch):
    xyz, depth = plane(0.004, noise=0.002)
    found = expected(xyz, depth)
    assert expected(1e3 * xyz, 1e3 * depth) == pytest.approx(found)
    monkeypatch.setattr(neighbours, "AT_ONCE", 7)
    assert expected(xyz, depth) == pytest.approx(found)


def test_a_cloud_of_depths_and_errors_against_a_plain_loop():
    rng = np.random.default_rng(1)
    xyz, depth, own = rng.normal(size=(60, 3)), rng.uniform(0.5, 9, 60), rng.uniform(0.001, 0.1, 60)
    found = uncertainty_among_neighbours(xyz, depth, own, 0.1, 1.0)
    for k in range(60):
        distance = np.linalg.norm(xyz - xyz[k], axis=1)
        order = np.argsort(distance)[:21]
        scatter = np.linalg.svd(xyz[order] - xyz[order].mean(0))[1][2] / np.sqrt(21) / depth[k]
        factor = np.clip(distance[order[10]] / (0.1 * depth[k]), 1, MOST_STEPS) ** SPARSE_POWER
        assert found[k] == pytest.approx(CENTRING * factor * np.hypot(own[k], SCATTER_WEIGHT * scatter))


def test_a_point_off_its_plane_is_less_sure():
    xyz, depth = plane(0.004)
    xyz[820, 2] = 1.01
    found = expected(xyz, depth)
    assert found[820] > 1.1 * np.median(found)


def test_enlarged_frames_are_less_sharp():
    found, enlarged, reduced = (np.median(expected(*plane(0.004), scale=scale)) for scale in (1.0, 1.4641, 0.5))
    assert enlarged == pytest.approx(1.1 * found)
    assert reduced == found


def test_too_few_points_are_left_as_they_are():
    xyz, depth = plane(0.004)
    assert expected(xyz[:20], depth[:20]) == pytest.approx(0.004)
    assert expected(xyz[:0], depth[:0]).shape == (0,)
    assert (expected(xyz[:21], depth[:21]) > 0).all()
    assert (expected(xyz[:21], depth[:21]) != 0.004).all()


def test_points_in_one_place_at_no_distance():
    assert np.isfinite(expected(np.zeros((30, 3)), np.zeros(30))).all()
