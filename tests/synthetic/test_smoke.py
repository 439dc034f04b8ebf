"""Smoke that floats through a clip."""

import numpy as np
import pytest

from dd_sfm.synthetic.effects import SMOKE_DEPTHS_MM, Smoke


def opacity(smoke, frame, depth=10.0, count=41):
    side = np.linspace(-0.8, 0.8, 20)
    directions = np.array([[x, y, 1.0] for x in side for y in side])
    return smoke.opacity(np.zeros(3), directions, np.full(len(directions), depth), frame, count)


@pytest.fixture(scope="module")
def smoke():
    return Smoke.plan(np.random.default_rng(2), 0.9)


def test_it_comes_for_a_moment_in_the_middle_and_is_denser_in_places(smoke):
    assert not opacity(smoke, 0).any()
    assert not opacity(smoke, 40).any()
    middle = opacity(smoke, 20)
    assert 0 <= middle.min() < 0.6 * middle.max()
    assert middle.max() <= 0.9
    assert opacity(smoke, 18).mean() < middle.mean()


def test_it_floats(smoke):
    assert np.abs(opacity(smoke, 20) - opacity(smoke, 24, count=49)).mean() > 0.02


def test_beyond_tissue_there_is_none(smoke):
    near, behind = opacity(smoke, 20, depth=max(SMOKE_DEPTHS_MM)), opacity(smoke, 20, depth=0.0)
    assert np.array_equal(near, behind)
    assert not np.array_equal(opacity(smoke, 20, depth=2.0), behind)


def test_without_strength_there_is_none():
    assert not opacity(Smoke.plan(np.random.default_rng(2), 0.0), 20).any()
