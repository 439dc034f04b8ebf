import numpy as np
from numba import njit

from dd_sfm.ops.packed_image import STEPS, pack_image, packed_sample, packed_window

GREY = np.array([[0.0, 255.0, 0.0], [255.0, 0.0, 37.25]])


@njit
def sample(image, x, y):
    row, column = int(y), int(x)
    return packed_sample(image[row, column], np.float32(x - column), np.float32(y - row)) / STEPS


def test_samples_are_bilinear_also_at_the_largest_contrast():
    image = pack_image(GREY)
    assert sample(image, 0.25, 0.5) == 0.5 * (0.75 * 0 + 0.25 * 255) + 0.5 * (0.75 * 255 + 0.25 * 0)
    assert sample(image, 1.5, 0.75) == 0.25 * 127.5 + 0.75 * 0.5 * 37.25
    assert sample(image, 2.0, 1.5) == 37.25


def test_windows_go_on_beyond_the_image_as_its_edge():
    window = np.empty((4, 5), np.float32)
    njit(lambda image, window: packed_window(image, -1, -1, window))(pack_image(GREY), window)
    assert np.array_equal(window / STEPS, np.pad(GREY, 1, mode="edge"))
