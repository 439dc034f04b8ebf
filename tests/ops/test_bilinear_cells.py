"""Images packed for interpolation."""

import numpy as np
import pytest

from dd_sfm.ops.bilinear_cells import UNITS, bilinear_cells, unpacked


def test_cells_interpolate():
    image = np.random.default_rng(0).uniform(-120, 120, (9, 13)).astype(np.float32)
    cells = bilinear_cells(image)
    assert cells.shape == image.shape
    assert cells.dtype == np.int64
    for row in range(8):
        for column in range(12):
            a, b, c, d = unpacked.py_func(cells[row, column])
            for fx, fy in ((0, 0), (1, 0), (0, 1), (1, 1), (0.3, 0.6)):
                top = image[row, column] * (1 - fx) + image[row, column + 1] * fx
                low = image[row + 1, column] * (1 - fx) + image[row + 1, column + 1] * fx
                value = (a + b * fx + (c + d * fx) * fy) / UNITS
                assert value == pytest.approx(top * (1 - fy) + low * fy, abs=2.1 / UNITS)


def test_the_edge_goes_on():
    cells = bilinear_cells(np.arange(12, dtype=np.float32).reshape(3, 4))
    assert unpacked.py_func(cells[2, 3]) == (11 * UNITS, 0, 0, 0)
    assert unpacked.py_func(cells[2, 1]) == (9 * UNITS, UNITS, 0, 0)
