"""Where a view shows patches of a slanted plane, when it is not quite where the poses say."""

import numpy as np
import pytest
from slanted import every_pixel, inverse_depth, loaded, picture, poses, transfers

REFERENCE, VIEW = 6, 8
PIXELS = every_pixel(8, 4)
INNER = (np.abs(PIXELS - [79.5, 59.5]) < [40, 30]).all(1)


@pytest.fixture(scope="module")
def pair():
    """Reference, view, transfer, planes at PIXELS, and their exact places in the view."""
    where = poses()
    planes = inverse_depth(where[REFERENCE], PIXELS)
    matrices, shifts = transfers(where[REFERENCE], [where[VIEW]])
    seen = np.column_stack([PIXELS, np.ones(len(PIXELS))]) @ matrices[0].T.astype(float) + planes[:, :1] * shifts[0]
    return picture(where[REFERENCE]), picture(where[VIEW]), matrices[0], shifts[0], planes, seen[:, :2] / seen[:, 2:]


def align_in_view(reference, view, matrix, shift, pixels, planes, iterations, most_px):
    """Places (N, 2) and correlations (N,) in one view; the one before it is not asked for, and has none."""
    search, shown = loaded([reference, view, view])
    matrices, shifts = np.stack([matrix, matrix]), np.stack([shift, shift])
    asked = np.tile([False, True], (len(pixels), 1))
    place, score = search.align(shown, matrices, shifts, pixels, planes, asked, iterations, most_px)
    assert (score[:, 0] == -1).all()
    return place[:, 1], score[:, 1]


def offset(by):
    """Turns a transfer into one that predicts places ``by`` pixels (2,) away from the true ones."""
    return np.array([[1, 0, by[0]], [0, 1, by[1]], [0, 0, 1]], np.float32)


@pytest.mark.parametrize("by", [(0.0, 0.0), (0.4, -0.3), (-1.2, 0.7)])
def test_a_shift_is_found(pair, by):
    reference, view, matrix, shift, planes, true = pair
    turn = offset(by)
    place, score = align_in_view(reference, view, turn @ matrix, turn @ shift, PIXELS, planes, 8, 3.0)
    error = np.linalg.norm(place - true, axis=1)[INNER]
    # What remains is that pictures are linear between pixels, and is the same from wherever it began.
    assert np.percentile(error, 98) < 0.05
    assert np.median(error) < 0.02
    assert score[INNER].min() > 0.99


def test_a_wider_patch_is_found_as_well(pair):
    reference, view, matrix, shift, planes, true = pair
    turn = offset((0.4, -0.3))
    search, shown = loaded([reference, view])
    place, score = search.align(
        shown, (turn @ matrix)[None], (turn @ shift)[None], PIXELS, planes, np.ones((len(PIXELS), 1), bool), 8, 3.0, 2.0
    )
    assert np.median(np.linalg.norm(place[:, 0] - true, axis=1)[INNER]) < 0.02
    assert score[INNER].min() > 0.98


def test_without_steps_the_place_is_the_predicted_one(pair):
    reference, view, matrix, shift, planes, true = pair
    place, score = align_in_view(reference, view, matrix, shift, PIXELS, planes, 0, 3.0)
    assert place[INNER] == pytest.approx(true[INNER], abs=1e-3)
    assert score[INNER].min() > 0.99


def test_too_far_is_a_failure(pair):
    reference, view, matrix, shift, planes, _ = pair
    turn = offset((1.5, 0))
    _, score = align_in_view(reference, view, turn @ matrix, turn @ shift, PIXELS, planes, 8, 1.0)
    assert (score[INNER] == -1).all()


def test_no_place_outside_without_texture_or_behind(pair):
    reference, view, matrix, shift, planes, true = pair
    _, score = align_in_view(reference, view, matrix, shift, PIXELS, planes, 3, 3.0)
    outside = (true < 0).any(1) | (true > [159, 119]).any(1) | (PIXELS < 6).any(1)
    assert outside.sum() > 20
    assert (score[outside] == -1).all()
    grey = np.full_like(view, 90)
    assert (align_in_view(reference, grey, matrix, shift, PIXELS, planes, 3, 3.0)[1] == -1).all()
    assert (align_in_view(grey, view, matrix, shift, PIXELS, planes, 3, 3.0)[1] == -1).all()
    assert (align_in_view(reference, view, -matrix, -shift, PIXELS, planes, 3, 3.0)[1] == -1).all()
