import numpy as np

from dd_sfm.ops.pixels import inside_mask, nearest_values

IMAGE = np.arange(12).reshape(3, 4)


def test_the_nearest_pixel_is_read_and_beyond_the_image_there_is_none():
    xy = np.array([[0.4, 0.4], [0.6, 0.4], [3.4, 2.4], [3.6, 0], [0, 2.6], [-0.4, 0], [-0.6, 0]])
    assert nearest_values(IMAGE, xy, -1).tolist() == [0, 1, 11, -1, -1, 0, -1]


def test_places_that_are_no_numbers_are_outside():
    xy = np.array([[np.nan, 0], [0, np.nan], [np.inf, 0], [0, -np.inf], [1e300, 0]])
    assert nearest_values(IMAGE, xy, -1).tolist() == [-1] * 5
    assert not inside_mask(np.ones((3, 4), bool), xy).any()


def test_colours_and_no_places_at_all():
    picture = np.dstack([IMAGE, IMAGE + 100]).astype(np.uint8)
    assert nearest_values(picture, np.array([[1.0, 1], [9, 9]]), 7).tolist() == [[5, 105], [7, 7]]
    assert nearest_values(picture, np.zeros((0, 2)), 7).shape == (0, 2)


def test_a_mask_with_a_hole():
    mask = np.ones((3, 4), bool)
    mask[1, 2] = False
    assert inside_mask(mask, np.array([[2.0, 1], [2.6, 1], [2.4, 0.6], [2, 2]])).tolist() == [False, True, False, True]
