"""Patches, run without the compiler: what is compiled is tested through the search and the alignment."""

import numpy as np
import pytest
from slanted import inverse_depth, picture, poses, transfers

from dd_sfm.mvs.kernels.depth_search import vote
from dd_sfm.mvs.kernels.slanted_patches import (
    EDGE_GREY,
    ROOM,
    correlate,
    patch_offsets,
    reference_patch,
)
from dd_sfm.ops.packed_image import STEPS, pack_image

SIDE = 11
U, V = np.float32(80), np.float32(60)
OFFSETS = patch_offsets(SIDE)


def patch_of(image, u=U, v=V):
    """Normalised samples times weights, weights, and their worth."""
    patch, weights = np.zeros(ROOM, np.float32), np.zeros(ROOM, np.float32)
    flat, (height, width) = pack_image(image).ravel(), image.shape
    worth = reference_patch.py_func(flat, width, height, u, v, np.float32(1), OFFSETS, SIDE, patch, weights)
    return patch, weights, worth


@pytest.fixture(scope="module")
def sample():
    """Votes on the depth of (U, V) of frame 6 in frame 8, at a factor on its inverse depth."""
    where = poses()
    (matrix,), (shift,) = transfers(where[6], [where[8]])
    patch, weights, _ = patch_of(picture(where[6]))
    w, gu, gv = inverse_depth(where[6], np.array([[U, V]]))[0]

    def at(factor, view=None):
        view = picture(where[8]) if view is None else view
        flat, (height, width) = pack_image(view).ravel(), view.shape
        here = np.float32(w * factor)
        place = matrix, shift, U, V, here, gu, gv, np.float32(1), OFFSETS
        voted = vote.py_func(flat, width, height, *place, patch, weights)
        assert correlate.py_func(flat, width, height, *place, SIDE, patch, weights) == pytest.approx(voted[0], abs=1e-5)
        return voted, w

    return at


def test_the_surface_looks_the_same_in_both(sample):
    (ncc, hessian, gradient, speed), _ = sample(1.0)
    assert ncc > 0.998
    # What remains is that the picture is linear between pixels.
    assert abs(gradient / hessian * speed) < 0.03


def test_gradient_and_speed_are_derivatives(sample):
    """The squared difference of the patches is 2 - 2 ncc; gradient and hessian belong to half of it."""
    for factor in (0.97, 1.0, 1.03):
        (_, _, gradient, _), w = sample(factor)
        step = 0.001
        more, less = sample(factor + step)[0][0], sample(factor - step)[0][0]
        assert gradient == pytest.approx(-(more - less) / (2 * step * w), rel=0.1, abs=3)
    where = poses()
    (matrix,), (shift,) = transfers(where[6], [where[8]])

    def place(inverse):
        x, y, z = matrix.astype(float) @ [U, V, 1] + inverse * shift
        return np.array([x, y]) / z

    (_, _, _, speed), w = sample(1.0)
    assert speed == pytest.approx(np.linalg.norm(place(1.001 * w) - place(0.999 * w)) / (0.002 * w), rel=1e-3)


def test_a_patch_outside_or_without_texture_has_no_vote(sample):
    assert sample(10.0)[0][0] == -1
    assert sample(1.0, view=np.zeros((40, 40), np.float32))[0][0] == -1
    assert sample(1.0, view=np.full((120, 160), 90, np.float32))[0][0] == -1


def test_normalised_values():
    image = picture(poses()[6])
    patch, weights, worth = patch_of(image)
    rows, columns = np.mgrid[55:66, 75:86]
    values = image[rows, columns].ravel()
    count = SIDE * SIDE
    assert not patch[count:].any()
    assert not weights[count:].any()
    assert weights.sum() == pytest.approx(count, rel=1e-4)
    mean = (weights[:count] * values).sum() / count
    norm = np.sqrt((weights[:count] * (values - mean) ** 2).sum())
    assert patch[:count] == pytest.approx(weights[:count] * (values - mean) / norm, abs=1e-3)
    assert 60 < worth <= count
    assert patch_of(np.full((120, 160), 12.0, np.float32))[2] == 0
    assert patch_of(image, u=np.float32(5))[2] == 0


def test_samples_across_an_edge_hardly_count():
    image = np.full((40, 40), 100.0, np.float32)
    image[:, 23:] = 250
    image += np.random.default_rng(1).normal(0, 3, image.shape).astype(np.float32)
    _, found, worth = patch_of(image, np.float32(20), np.float32(20))
    weights = found[:121].reshape(11, 11)
    assert EDGE_GREY / STEPS == 25
    assert weights.sum() == pytest.approx(121, rel=1e-4)
    assert weights[:, :8].min() > 20 * weights[:, 8:].max()
    assert 80 < worth < 95  # about 8 of 11 columns
