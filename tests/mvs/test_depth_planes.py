import numpy as np
import pytest

from dd_sfm.mvs.kernels.depth_planes import fit_planes

ROWS, COLUMNS = np.mgrid[:20, :24]
PLANE = (0.05 + 3e-4 * COLUMNS - 2e-4 * ROWS).astype(np.float32)
ONES = np.ones_like(PLANE)


def test_a_plane_is_found_again():
    found = fit_planes(PLANE, ONES, 3, 0.02)
    inner = found[3:-3, 3:-3]
    assert inner[..., 0] == pytest.approx(PLANE[3:-3, 3:-3], rel=1e-4)
    # Slopes are damped by a thousandth of the weights: 0.03 % where neighbours lie on all sides.
    assert inner[..., 1] == pytest.approx(np.full((14, 18), 3e-4), rel=1e-3)
    assert inner[..., 2] == pytest.approx(np.full((14, 18), -2e-4), rel=1e-3)
    assert found[..., 0] == pytest.approx(PLANE, rel=1e-3)


def test_outliers_are_ignored():
    disturbed = PLANE.copy()
    wrong = np.random.default_rng(0).random(PLANE.shape) < 0.1
    disturbed[wrong] *= 1.4
    found = fit_planes(disturbed, ONES, 3, 0.02)
    assert np.abs(found[..., 0] / PLANE - 1)[~wrong].max() < 0.01
    assert np.median(np.abs(found[..., 0] / PLANE - 1)[~wrong]) < 1e-3


def test_sure_neighbours_count_more():
    # Columns take turns: sure ones on the plane, unsure ones 1 % further.
    unsure = COLUMNS % 2 == 1
    mixed, information = PLANE.copy(), ONES.copy()
    mixed[unsure] *= 1.01
    alike = fit_planes(mixed, information, 3, 0.02)
    information[unsure] = 0.01
    weighted = fit_planes(mixed, information, 3, 0.02)

    def error(found):
        return np.abs(found[4:-4, 4:-4, 0] / PLANE[4:-4, 4:-4] - 1)[:, ::2].max()

    assert error(weighted) < 1e-3 < error(alike)


def test_nothing_where_too_little_is_known():
    few = np.zeros_like(PLANE)
    few[5, 5:9] = PLANE[5, 5:9]
    assert not fit_planes(few, ONES, 2, 0.02).any()
    holes = PLANE.copy()
    holes[8:12, 8:12] = 0
    found = fit_planes(holes, ONES, 2, 0.02)
    # Planes smooth what is known; they do not fill holes.
    assert not found[8:12, 8:12].any()
    assert (found[..., 0] > 0).sum() == PLANE.size - 16


def test_nothing_without_information():
    assert not fit_planes(PLANE, np.zeros_like(PLANE), 2, 0.02).any()


def test_points_on_a_line_keep_their_slope_along_it():
    line = np.zeros_like(PLANE)
    line[10] = PLANE[10]
    found = fit_planes(line, ONES, 3, 0.02)[10, 3:-3]
    assert found[:, 0] == pytest.approx(PLANE[10, 3:-3], rel=1e-3)
    assert found[:, 1] == pytest.approx(np.full(18, 3e-4), rel=1e-3)
    assert found[:, 2] == pytest.approx(np.zeros(18), abs=1e-9)
