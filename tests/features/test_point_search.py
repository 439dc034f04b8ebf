import numpy as np
import pytest
import torch

from dd_sfm.features.point_search import find_points, usable_cells
from dd_sfm.ops.sampling import cell_to_image


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_a_cell_is_usable_where_its_centre_is(stride):
    width = 12 * stride
    for first in range(width):
        mask = np.zeros((stride, width), bool)
        mask[:, first:] = True
        centres = cell_to_image(torch.arange(12.0), stride).numpy()
        # A centre between two pixels counts as the one behind it.
        assert (usable_cells(mask, stride, (1, 12))[0] == (np.ceil(centres) >= first)).all()


def test_cells_beyond_the_map_do_not_count():
    assert usable_cells(np.ones((11, 9), bool), 2, (5, 4)).shape == (5, 4)


def descriptors(seed=0, height=12, width=16):
    values = torch.randn(24, height, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=0)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_points_are_found_where_the_map_was_shifted_to(stride):
    first = descriptors()
    # Two cells to the right, one down: map1[y + 1, x + 2] = map0[y, x].
    second = torch.roll(first, (1, 2), (1, 2))
    cells = np.array([[3, 3], [9, 4], [5, 8]])
    xy = (cells + 0.5) * stride - 0.5
    found = find_points(first, second, np.ones((12, 16), bool), xy, stride).numpy()
    # Random descriptors have a peak of one cell, so the fit between cells moves it by a fraction of one at most.
    assert np.abs(found - (xy + np.array([2, 1]) * stride)).max() < 0.61 * stride


def test_only_usable_cells_are_found():
    first = descriptors()
    usable = np.zeros((12, 16), bool)
    usable[2:4, 5:9] = True
    found = find_points(first, descriptors(1), usable, np.array([[0.5, 0.5], [20.5, 12.5]]), 2).numpy()
    assert (np.abs(found - [13.5, 5.5]) <= [2 * 2.1, 2 * 1.1]).all()


def test_no_usable_cell_finds_nothing():
    found = find_points(descriptors(), descriptors(1), np.zeros((12, 16), bool), np.array([[3.0, 4.0]]), 2)
    assert torch.isnan(found).all()
