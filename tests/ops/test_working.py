import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.ops.resize import resize_image
from dd_sfm.ops.working import field_grid, grid_around, mask_height, to_working, working_image, working_mask


def area(rows, columns, shape=(120, 160)):
    mask = np.zeros(shape, bool)
    mask[rows[0] : rows[1], columns[0] : columns[1]] = True
    return mask


def test_the_crop_holds_the_area_and_a_margin_by_hand():
    grid = grid_around(area((40, 100), (50, 120)), 0.5, 2, where="here")
    assert grid.origin == (25 - 8, 20 - 8)
    assert (grid.width, grid.height) == (35 + 16, 30 + 16)
    assert (grid.scale, grid.stride) == (0.5, 2)


def test_the_margin_ends_with_the_frame():
    grid = grid_around(area((3, 120), (0, 158)), 1.0, where="here")
    assert grid.origin == (0, 0)
    assert (grid.width, grid.height) == (160, 120)


def test_the_field_of_view_gets_the_working_height():
    field = area((40, 100), (50, 120))
    assert mask_height(field) == 60
    assert field_grid(field, 30, where="here").scale == 0.5
    assert mask_height(np.zeros((3, 3), bool)) == 0


def test_image_and_mask_are_cut_alike():
    mask = area((40, 100), (50, 120))
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    grid = grid_around(mask, 0.5, where="here")
    frame = to_working(image, mask, grid)
    assert frame.image.shape == (grid.height, grid.width, 3)
    assert (frame.image == resize_image(image, 0.5)[12:58, 17:68]).all()
    assert np.argwhere(frame.mask).min(0).tolist() == [8, 8]
    assert frame.mask.sum() == 30 * 35
    assert (working_image(image, grid) == frame.image).all()


def test_a_pixel_that_is_half_usable_is_not():
    mask = area((40, 99), (50, 119))
    cut = working_mask(mask, grid_around(mask, 0.5, where="here"))
    assert cut.sum() == 29 * 34


def test_the_camera_of_the_crop_sees_what_lies_in_it():
    grid = grid_around(area((40, 100), (50, 120)), 0.5, where="here")
    camera = PinholeCamera(160, 120, 100.0, 100.0, 79.5, 59.5)
    points = np.array([[0.1, -0.05, 1.0], [0.4, 0.3, 2.0]])
    assert grid.camera(camera).project(points)[0] == pytest.approx(grid.to_working(camera.project(points)[0]))
    assert grid.camera(camera).size == (grid.width, grid.height)


def test_nothing_usable():
    with pytest.raises(InputError, match="here: no usable pixel"):
        grid_around(np.zeros((20, 20), bool), 1.0, where="here")
