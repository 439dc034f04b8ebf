import numpy as np

from dd_sfm.features.consensus import local_affine


def test_affine_motion_is_recovered_and_outliers_stand_out():
    rng = np.random.default_rng(1)
    xy0 = rng.uniform(0, 400, (600, 2))
    matrix, shift = np.array([[1.05, 0.1], [-0.08, 0.95]]), np.array([12.0, -7.0])
    xy1 = xy0 @ matrix.T + shift + rng.normal(0, 0.3, (600, 2))
    wrong = rng.random(600) < 0.2
    xy1[wrong] += rng.choice([-1, 1], (wrong.sum(), 2)) * rng.uniform(20, 60, (wrong.sum(), 2))
    affine, predicted, support = local_affine(xy0, xy1)
    residual = np.linalg.norm(xy1 - predicted, axis=1)
    assert np.median(np.abs(affine - matrix)) < 0.05
    assert (residual[~wrong] < 3).mean() > 0.95
    assert (residual[wrong] > 8).mean() > 0.97
    assert np.median(support) > 0.5


def test_random_matches_get_no_support():
    rng = np.random.default_rng(2)
    _, _, support = local_affine(rng.uniform(0, 400, (300, 2)), rng.uniform(0, 400, (300, 2)))
    assert np.median(support) < 0.3


def test_too_few_matches_to_judge():
    xy = np.array([[1.0, 2.0], [3.0, 4.0]])
    affine, predicted, support = local_affine(xy, xy + 1)
    assert np.array_equal(affine, np.tile(np.eye(2), (2, 1, 1)))
    assert np.array_equal(predicted, xy + 1)
    assert support.tolist() == [0.0, 0.0]
