"""Depth of single pixels on a slanted plane whose depth is known."""

import numpy as np
import pytest
from slanted import every_pixel, inverse_depth, loaded, picture, poses, transfers

REFERENCE, VIEWS = 6, (2, 4, 8, 10)
PIXELS = every_pixel(8, 4)
INNER = (np.abs(PIXELS - [79.5, 59.5]) < [35, 25]).all(1)
"""Pixels that all views show."""


@pytest.fixture(scope="module")
def plane():
    """Reference, views, their transfers, and the true planes at PIXELS."""
    where = poses()
    images = np.stack([picture(where[v]) for v in VIEWS])
    matrices, shifts = transfers(where[REFERENCE], [where[v] for v in VIEWS])
    return (picture(where[REFERENCE]), images, matrices, shifts), inverse_depth(where[REFERENCE], PIXELS)


def refine(inputs, planes, iterations=8):
    reference, images, matrices, shifts = inputs
    search, shown = loaded([reference, *images])
    return search.refine(shown, matrices, shifts, PIXELS, planes.astype(np.float32), 1.0, iterations, 0.7)


def choose(inputs, kinds, pixels=PIXELS):
    reference, images, matrices, shifts = inputs
    search, shown = loaded([reference, *images])
    return search.choose(shown, matrices, shifts, pixels, kinds, 2.0)


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.03])
def test_depth_is_found_from_a_few_percent_off(plane, factor):
    inputs, true = plane
    inverse, information, each = refine(inputs, true * [factor, 1, 1])
    error = np.abs(inverse / true[:, 0] - 1)[INNER]
    assert error.max() < 0.002
    assert each[INNER].min() > 0.99
    # What it promises is about what it gives.
    assert np.median(error) < 2 * np.median(1 / (np.sqrt(information[INNER]) * true[INNER, 0]))


def test_no_depth_where_the_patch_leaves_the_picture(plane):
    inputs, true = plane
    inverse, information, each = refine(inputs, true)
    near = (PIXELS < 6).any(1)
    assert near.sum() > 30
    for result in (inverse, information):
        assert (result[near] == 0).all()
    assert (each[near] == -1).all()


def test_no_depth_without_texture_and_from_no_start(plane):
    (reference, *rest), true = plane
    grey = np.full_like(reference, 90)
    assert not refine((grey, *rest), true)[0].any()
    assert not refine((reference, *rest), np.zeros_like(true))[0].any()
    # Views without texture have nothing to say: one that has some is too few.
    blind = rest[0].copy()
    blind[:3] = 90
    inverse, _, each = refine((reference, blind, *rest[1:]), true)
    assert (each[:, :3] == -1).all()
    assert (inverse[INNER] > 0).mean() < 0.5


def test_a_view_that_shows_something_else_does_not_spoil_the_depth(plane):
    (reference, images, matrices, shifts), true = plane
    wrong = images.copy()
    wrong[1] = images[1][::-1, ::-1]
    inverse, _, each = refine((reference, wrong, matrices, shifts), true * [1.02, 1, 1])
    assert np.median(np.abs(inverse / true[:, 0] - 1)[INNER]) < 0.002
    assert np.median(each[INNER, 1]) < 0.5 < 0.99 < np.median(each[INNER, 0])


def test_the_true_hypothesis_is_chosen(plane):
    inputs, true = plane
    kinds = np.stack([true * [f, 1, 1] for f in (0.8, 1.1, 1.0, 1.3)], 1).astype(np.float32)
    best, score = choose(inputs, kinds)
    assert (best[INNER] == 2).all()
    assert score[INNER].min() > 0.99


def test_no_hypothesis_holds(plane):
    (reference, images, matrices, shifts), true = plane
    none = np.zeros((len(PIXELS), 4, 3), np.float32)
    best, score = choose((reference, images, matrices, shifts), none)
    assert (best == -1).all()
    assert (score == -1).all()
    kinds = np.repeat(true[:, None], 4, 1)
    # One view cannot be confirmed by another.
    best, _ = choose((reference, images[:1], matrices[:1], shifts[:1]), kinds)
    assert (best == -1).all()
    best, _ = choose((reference, images, matrices, shifts), kinds[:0], PIXELS[:0])
    assert len(best) == 0
