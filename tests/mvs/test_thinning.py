import numpy as np
import pytest

from dd_sfm.mvs.thinning import best_per_cell


def test_no_points():
    kept = best_per_cell(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    assert kept.shape == (0,)
    assert kept.dtype == bool


def test_the_cheapest_of_a_cell_stays():
    xyz = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9], [0.5, 0.5, 0.5], [1.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    kept = best_per_cell(xyz, np.ones(5), np.array([3.0, 1.0, 2.0, 9.0, 8.0]))
    assert kept.tolist() == [False, True, False, True, True]


def test_of_equals_one_stays():
    kept = best_per_cell(np.full((4, 3), 0.5), np.ones(4), np.zeros(4))
    assert kept.tolist() == [True, False, False, False]


def test_sizes_are_rounded_to_powers_of_two():
    xyz = np.full((4, 3), 0.5)
    # 0.8 and 1.3 count as 1, 3 as 4.
    kept = best_per_cell(xyz, np.array([0.8, 1.0, 1.3, 3.0]), np.array([2.0, 3.0, 1.0, 0.5]))
    assert kept.tolist() == [False, False, True, True]


def test_a_point_gives_way_to_a_cheaper_one_of_a_finer_grid():
    xyz = np.full((3, 3), 0.3)
    kept = best_per_cell(xyz, np.array([0.009, 0.0175, 0.035]), np.array([0.02, 0.05, 0.1]), across=True)
    assert kept.tolist() == [True, False, False]


def test_far_strays_do_not_blur_the_grid():
    xyz = np.concatenate([np.random.default_rng(1).uniform(0, 1, (200, 3)), [[1e9, 0, 0], [-1e9, 0, 0]]])
    assert best_per_cell(xyz, np.full(202, 1e-3), np.zeros(202)).sum() >= 200


def test_scale_of_the_scene_does_not_matter():
    rng = np.random.default_rng(0)
    xyz, cost = rng.uniform(-5, 5, (500, 3)), rng.random(500)
    kept = best_per_cell(xyz, np.ones(500), cost)
    assert 300 < kept.sum() < 450
    assert (best_per_cell(1024 * xyz, np.full(500, 1024.0), cost) == kept).all()
    order = rng.permutation(500)
    assert (best_per_cell(xyz[order], np.ones(500), cost[order]) == kept[order]).all()


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_extreme_sizes(size):
    xyz = np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]])
    kept = best_per_cell(xyz, np.full(2, size), np.array([2.0, 1.0]))
    assert kept.tolist() == ([True, True] if size < 1 else [False, True])
