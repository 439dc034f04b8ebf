"""How exactly, and along which direction, observations say where their points are."""

import numpy as np
import pytest

from dd_sfm.mvs.observation_information import LEAST, MOST, _bounded
from dd_sfm.ops.texture import structure_tensors


def test_an_edge_tells_nothing_along_itself():
    columns = np.tile(np.arange(60), (60, 1))
    xx, xy, yy = structure_tensors(np.where(columns < 30, 50, 100), 3.0)[30, 30]
    assert xx > 10
    assert (abs(xy), yy) == pytest.approx((0, 0), abs=1e-4)
    turned = structure_tensors(np.where(columns + columns.T < 60, 50, 100), 3.0)[30, 30]
    assert turned == pytest.approx(np.full(3, turned[0]), rel=1e-3)


def test_information_is_bounded_along_either_axis():
    across = np.array([[1e6, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    found = _bounded(across)
    assert found[0] == pytest.approx([MOST + LEAST, 0, LEAST], rel=1e-4)
    assert found[1] == pytest.approx([LEAST, 0, LEAST])
    assert found[2] == pytest.approx(np.array([1, 0, 1]) / (1 + 1 / MOST) + [LEAST, 0, LEAST])


def test_bounds_keep_the_axes():
    angle = 0.3
    x, y = np.cos(angle), np.sin(angle)
    strong, weak = 40.0, 0.5
    whole = strong * np.array([x * x, x * y, y * y]) + weak * np.array([y * y, -x * y, x * x])
    xx, xy, yy = _bounded(whole[None])[0]
    values, axes = np.linalg.eigh([[xx, xy], [xy, yy]])
    assert values == pytest.approx([weak / (1 + weak / MOST) + LEAST, strong / (1 + strong / MOST) + LEAST])
    assert abs(axes[:, 1] @ [x, y]) == pytest.approx(1)
