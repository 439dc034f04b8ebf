import cv2
import numpy as np
import pytest
import torch
from conftest import circle_mask, texture
from test_matching_accuracy import patches_of

from dd_sfm.config import MatchConfig
from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View
from dd_sfm.evaluation.matching.with_patches import MAX_RESIDUAL_CELLS, PatchRefinedMatcher
from dd_sfm.features.view_matching import ViewMatches

MOTION = np.array([[1.06, -0.08, 2.3], [0.07, 0.97, -4.6]])
"""What the second view shows at (x, y, 1) of the first."""
MASK = circle_mask(120, 160, 52)
CONFIG = MatchConfig(search="exhaustive")


def grid_of(view):
    y, x = np.mgrid[12:110:5, 32:130:5]
    xy = np.stack([x.ravel(), y.ravel()], 1)
    return xy[MASK[xy[:, 1], xy[:, 0]]].astype(np.float32)


def views(*, flat=False):
    first = texture(120, 160)
    second = cv2.warpAffine(first, MOTION, (160, 120), borderMode=cv2.BORDER_REFLECT)
    return View(0, first, MASK), View(1, np.full_like(second, 90) if flat else second, MASK)


@pytest.fixture
def points():
    rng = np.random.default_rng(1)
    return rng.uniform([55, 35], [105, 85], (60, 2))


@pytest.fixture
def plain():
    return DescriptorMatcher(patches_of, 2)


def errors(places, points):
    return np.linalg.norm(places - (points @ MOTION[:, :2].T + MOTION[:, 2]), axis=1)


def test_patches_bring_places_to_a_tenth_of_a_pixel(plain, points):
    source, target = views()
    before = errors(plain(source, target, points), points)
    after = errors(PatchRefinedMatcher(plain, grid_of, CONFIG)(source, target, points), points)
    assert after.shape == before.shape
    assert np.median(before) > 0.2
    assert np.median(after) < 0.1
    assert (after < 0.5).mean() > (before < 0.5).mean() + 0.25


def test_few_points_are_aligned_by_the_motion_of_the_query_points(plain, points):
    source, target = views()
    matcher = PatchRefinedMatcher(plain, grid_of, CONFIG)
    assert np.median(errors(matcher(source, target, points[:3]), points[:3])) < 0.1


def test_without_texture_every_point_keeps_its_place(plain, points):
    source, target = views(flat=True)
    found = PatchRefinedMatcher(plain, grid_of, CONFIG)(source, target, points)
    assert np.array_equal(found, plain(source, target, points))


def test_without_usable_cells_points_are_lost_and_still_counted(plain, points):
    source, target = views()
    found = PatchRefinedMatcher(plain, grid_of, CONFIG)(source, View(1, target.image, np.zeros_like(MASK)), points)
    assert found.shape == points.shape
    assert np.isnan(found).all()


def test_a_place_far_from_the_neighbours_motion_is_not_taken(plain, points, monkeypatch):
    # Points 0 and 1 are aligned, the second to a place beyond what is trusted; 60 is a query point.
    there = torch.tensor([[70.25, 60.5], [80.0, 60.0], [1.0, 1.0]])
    far = torch.tensor([0.9, 1.1, 0.0]) * MAX_RESIDUAL_CELLS * plain.stride
    held = ViewMatches(torch.tensor([0, 1, 60]), there, torch.ones(3), far, 1.0)
    monkeypatch.setattr("dd_sfm.evaluation.matching.with_patches.match_views", lambda *args, **kwargs: held)
    source, target = views()
    expected = plain(source, target, points)
    expected[0] = [70.25, 60.5]
    assert np.array_equal(PatchRefinedMatcher(plain, grid_of, CONFIG)(source, target, points), expected)
