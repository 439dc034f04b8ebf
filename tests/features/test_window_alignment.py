import cv2
import numpy as np
import pytest
import torch

from dd_sfm.features.window_alignment import align_windows, window_map

HEIGHT, WIDTH = 60, 80


def smooth_maps(motion, seed=0):
    """Two descriptor maps (H, W, D): what the second shows at A (x, y, 1) is at (x, y) of the first."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(16, HEIGHT, WIDTH)).astype(np.float32)
    first = np.stack([cv2.GaussianBlur(n, (0, 0), 2.0) for n in noise], 2)
    second = np.stack(
        [cv2.warpAffine(c, motion, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT) for c in np.moveaxis(first, 2, 0)], 2
    )
    return [m / np.linalg.norm(m, axis=2, keepdims=True) for m in (first, second)]


@pytest.fixture
def points():
    return np.random.default_rng(3).uniform([20, 20], [58, 40], (40, 2)).astype(np.float32)


ALL = np.ones((HEIGHT, WIDTH), bool)
SHIFT = np.array([[1, 0, 1.3], [0, 1, -0.7]])
BENT = np.array([[1.08, -0.06, 0.4], [0.05, 0.94, 0.9]])


def true_places(motion, points):
    return points @ motion[:, :2].T + motion[:, 2]


@pytest.mark.parametrize("motion", [SHIFT, BENT])
def test_windows_find_the_place_between_cells(motion, points):
    true = true_places(motion, points)
    found = align_windows(*smooth_maps(motion), ALL, ALL, points, true.round())
    assert np.median(np.linalg.norm(found - true, axis=1)) < 0.03
    assert np.abs(found - true).max() < 0.2


def test_noise_is_averaged_over_the_window(points):
    rng = np.random.default_rng(5)
    true = true_places(SHIFT, points)
    maps = [m + 0.1 * rng.normal(size=m.shape).astype(np.float32) for m in smooth_maps(SHIFT)]
    noisy = [m / np.linalg.norm(m, axis=2, keepdims=True) for m in maps]
    found = align_windows(*noisy, ALL, ALL, points, true.round())
    assert np.median(np.linalg.norm(found - true, axis=1)) < 0.1


def test_unusable_cells_have_no_say(points):
    first, second = smooth_maps(SHIFT)
    true = true_places(SHIFT, points)
    # The left half of the second view stands still, as the rim of a field of view does.
    still, usable = second.copy(), ALL.copy()
    still[:, :38], usable[:, :38] = first[:, :38], False
    near = (true[:, 0] > 41) & (true[:, 0] < 50)
    assert near.sum() > 5
    found = align_windows(first, still, ALL, usable, points[near], true[near].round())
    assert np.abs(found - true[near]).max() < 0.2


def test_without_a_usable_cell_or_a_peak_the_guess_stays(points):
    maps = smooth_maps(SHIFT)
    none = np.zeros_like(ALL)
    assert np.array_equal(align_windows(*maps, ALL, none, points, points), points)
    assert np.array_equal(align_windows(*maps, none, ALL, points, points), points)
    flat = np.full_like(maps[1], 0.25)
    assert np.array_equal(align_windows(maps[0], flat, ALL, ALL, points, points), points)


def test_guesses_outside_of_the_map_do_no_harm(points):
    away = points + np.float32(500)
    assert np.array_equal(align_windows(*smooth_maps(SHIFT), ALL, ALL, points, away), away)
    assert np.array_equal(align_windows(*smooth_maps(SHIFT), ALL, ALL, -away, points), points)


def test_a_window_that_is_cut_on_one_side_and_bends(points):
    first, second = smooth_maps(BENT)
    true = true_places(BENT, points)
    near = (true[:, 0] > 41) & (true[:, 0] < 50)
    usable = ALL.copy()
    usable[:, :38] = False
    found = align_windows(first, second, ALL, usable, points[near], true[near].round())
    assert np.abs(found - true[near]).max() < 0.04


def test_a_map_of_the_network_is_read_cell_by_cell():
    descriptors = torch.arange(24.0).reshape(2, 3, 4).half()
    read = window_map(descriptors)
    assert read.shape == (3, 4, 2)
    assert read.dtype == np.float32
    assert read[2, 1].tolist() == [9, 21]
