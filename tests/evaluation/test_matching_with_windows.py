import numpy as np
import pytest
from conftest import texture
from test_matching_accuracy import patches_of
from test_matching_with_patches import MASK, errors, views

from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View
from dd_sfm.evaluation.matching.with_windows import WindowRefinedMatcher


@pytest.fixture
def points():
    return np.random.default_rng(1).uniform([55, 35], [105, 85], (60, 2))


@pytest.fixture
def plain():
    return DescriptorMatcher(patches_of, 2)


def test_windows_bring_places_nearer(plain, points):
    source, target = views()
    before = errors(plain(source, target, points), points)
    after = errors(WindowRefinedMatcher(plain)(source, target, points), points)
    assert np.median(after) < 0.5 * np.median(before)
    assert np.percentile(after, 90) < np.percentile(before, 90)


def test_without_usable_cells_points_stay_lost(plain, points):
    source, target = views()
    found = WindowRefinedMatcher(plain)(source, View(1, target.image, np.zeros_like(MASK)), points)
    assert found.shape == points.shape
    assert np.isnan(found).all()


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_lies_outside_of_a_mask_has_no_say(side):
    source, target = views()
    points = np.random.default_rng(1).uniform([92, 40], [99, 80], (30, 2))
    # Right of column 104 one view shows noise, and its mask says so.
    shown = source if side == "source" else target
    image = np.where(np.arange(160)[None, :, None] > 104, texture(120, 160, seed=9), shown.image)
    cut = View(int(side == "target"), image, MASK & (np.arange(160) <= 104))
    pair = (cut, target) if side == "source" else (source, cut)
    masked = errors(WindowRefinedMatcher(DescriptorMatcher(patches_of, 2))(*pair, points), points)
    blind = View(cut.frame, cut.image, MASK)
    pair = (blind, target) if side == "source" else (source, blind)
    unmasked = errors(WindowRefinedMatcher(DescriptorMatcher(patches_of, 2))(*pair, points), points)
    assert np.median(masked) < 0.8 * np.median(unmasked)
