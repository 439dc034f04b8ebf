"""Patches, run without the compiler: what is compiled is tested through the search and the alignment."""

import numba
import numpy as np
import pytest
from slanted import inverse_depth, on_plane, picture, poses, texture, transfers

from dd_sfm.mvs.kernels.slanted_patches import normalise, reference_patch, view_patch
from dd_sfm.ops.compiled import compiled, set_threads

SIDE = 7
U, V = np.float32(80), np.float32(60)


@pytest.fixture(scope="module")
def sample():
    """Samples the patch around (U, V) of frame 6 in frame 8, at a factor on its inverse depth."""
    where = poses()
    (matrix,), (shift,) = transfers(where[6], [where[8]])
    image = picture(where[8])
    w, gu, gv = inverse_depth(where[6], np.array([[U, V]]))[0]

    def at(factor, view=image):
        values, slopes = np.empty(SIDE * SIDE, np.float32), np.empty(SIDE * SIDE, np.float32)
        here = np.float32(w * factor)
        speed = view_patch.py_func(view, matrix, shift, U, V, here, gu, gv, np.float32(1), SIDE, values, slopes)
        return values, slopes, speed, w

    return at


def test_values_are_those_of_the_surface(sample):
    values, *_ = sample(1.0)
    grid = np.array([[U + j, V + i] for i in range(-3, 4) for j in range(-3, 4)])
    expected = texture(on_plane(poses()[6], grid))
    # What remains is that the picture is linear between pixels.
    assert values == pytest.approx(expected, abs=3)
    assert np.corrcoef(values, expected)[0, 1] > 0.999


def test_slopes_and_speed_are_derivatives(sample):
    _, slopes, speed, w = sample(1.0)
    more, less = sample(1.002)[0], sample(0.998)[0]
    numeric = (more - less) / (0.004 * w)
    assert np.corrcoef(numeric, slopes)[0, 1] > 0.99
    assert np.polyfit(numeric, slopes, 1)[0] == pytest.approx(1, abs=0.05)
    where = poses()
    (matrix,), (shift,) = transfers(where[6], [where[8]])

    def place(inverse):
        x, y, z = matrix.astype(float) @ [U, V, 1] + inverse * shift
        return np.array([x, y]) / z

    assert speed == pytest.approx(np.linalg.norm(place(1.001 * w) - place(0.999 * w)) / (0.002 * w), rel=1e-3)


def test_a_patch_outside_has_no_speed(sample):
    assert sample(10.0)[2] == -1
    assert sample(1.0, view=np.zeros((40, 40), np.float32))[2] == -1


def test_normalised_values():
    values = np.array([3.0, 5.0, 7.0, 9.0, 99.0])
    scale = normalise.py_func(values, np.ones(5), 4, 0.05)
    assert values[:4] == pytest.approx(np.array([-3, -1, 1, 3]) / np.sqrt(20))
    assert scale == pytest.approx(1 / np.sqrt(20))
    assert values[4] == 99
    assert normalise.py_func(np.full(9, 12.0), np.ones(9), 9, 0.05) == 0


def test_values_normalised_by_weights():
    values = np.array([3.0, 5.0, 7.0, 200.0])
    roots = np.sqrt([1.0, 2.0, 1.0, 0.0])
    scale = normalise.py_func(values, roots, 4, 0.05)
    assert values == pytest.approx(np.array([-2, 0, 2, 0]) / np.sqrt(8))
    assert scale == pytest.approx(1 / np.sqrt(8))


def test_samples_across_an_edge_hardly_count():
    image = np.full((40, 40), 100.0, np.float32)
    image[:, 23:] = 250
    image += np.random.default_rng(1).normal(0, 3, image.shape).astype(np.float32)
    patch, roots = np.zeros(121, np.float32), np.zeros(121, np.float32)
    worth = reference_patch.py_func(image, 20.0, 20.0, 1.0, 11, patch, roots)
    weights = (roots**2).reshape(11, 11)
    assert weights.sum() == pytest.approx(121, rel=1e-4)
    assert weights[:, :8].min() > 20 * weights[:, 8:].max()
    assert 80 < worth < 95  # about 8 of 11 columns


def test_compiled_loops_need_no_writable_folder(monkeypatch):
    def refused(locator):
        raise OSError("read-only")

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refused)

    def twice(values):
        return 2 * values

    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(twice)
    assert compiled(twice).py_func is twice


def test_threads_never_exceed_the_machine():
    before = numba.get_num_threads()
    try:
        set_threads(10_000)
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
        set_threads(1)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)
