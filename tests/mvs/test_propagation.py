"""Planes carried into holes of a depth map."""

import numpy as np
import pytest

from dd_sfm.mvs.propagation import REACH, carried_planes

STEP = 4


def slanted(height=9, width=11):
    """A grid of one plane: inverse depth and its slopes per pixel of the image."""
    rows, columns = np.mgrid[:height, :width] * STEP
    planes = np.empty((height, width, 3), np.float32)
    planes[..., 0], planes[..., 1], planes[..., 2] = 0.05 + 1e-4 * columns - 2e-4 * rows, 1e-4, -2e-4
    return planes


def test_a_plane_goes_on_from_every_side():
    true, holed = slanted(), slanted()
    holed[3:6, 4:8] = 0
    pixels = np.flatnonzero(holed[..., 0] == 0)
    found = carried_planes(holed, pixels, STEP)
    assert found == pytest.approx(np.repeat(true.reshape(-1, 1, 3)[pixels], 4, 1), rel=1e-5)


def test_nothing_comes_from_beyond_the_grid_or_from_far_away():
    planes = np.zeros((3, REACH + 3, 3), np.float32)
    planes[1, 0] = 0.05, 0, 0
    found = carried_planes(planes, np.array([planes.shape[1] + REACH, planes.shape[1] + REACH + 1, 1]), STEP)
    assert (found[..., 0] > 0).sum(1).tolist() == [1, 0, 0]
    assert found[0].max() == np.float32(0.05)


def test_a_plane_that_would_reach_the_camera_is_not_carried():
    planes = np.zeros((1, 6, 3), np.float32)
    planes[0, 0] = 0.05, -0.002, 0
    found = carried_planes(planes, np.arange(1, 6), STEP)
    assert found[:, :, 0].max(1).tolist() == pytest.approx([0.042, 0.034, 0, 0, 0])
