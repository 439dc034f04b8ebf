"""Patches, run without the compiler: what is compiled is tested through the search and the alignment."""

import numba
import numpy as np
import pytest
from slanted import inverse_depth, on_plane, picture, poses, texture, transfers

from dd_sfm.ops.compiled import compiled, set_threads
from dd_sfm.ops.slanted_patches import normalise, view_patch

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
    scale = normalise.py_func(values, 4)
    assert values[:4] == pytest.approx(np.array([-3, -1, 1, 3]) / np.sqrt(20))
    assert scale == pytest.approx(1 / np.sqrt(20))
    assert values[4] == 99
    assert normalise.py_func(np.full(9, 12.0), 9) == 0


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
