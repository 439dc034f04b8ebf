"""Equations of poses in a band, against the whole matrix."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from dd_sfm.ops.banded import BandedFactor


def _path(count, links, side=6):
    """A positive definite matrix whose blocks are those of a path of ``count`` poses, and the blocks."""
    rng = np.random.default_rng(0)
    row, column = np.array(sorted({(i, i) for i in range(count)} | set(links))).T
    blocks = rng.normal(size=(len(row), side, side))
    own = row == column
    blocks[own] += blocks[own].transpose(0, 2, 1) + 40 * side * np.eye(side)
    whole = np.zeros((count, side, count, side))
    whole[row, :, column] = blocks
    whole[column, :, row] = blocks.transpose(0, 2, 1)
    return whole.reshape(count * side, -1), blocks, row, column


@pytest.mark.parametrize(
    "links",
    [
        [(i, j) for i in range(30) for j in range(i, min(30, i + 4))],
        [(i, i + 1) for i in range(29)] + [(0, 29), (3, 20)],
        [],
    ],
    ids=["path", "loops", "apart"],
)
def test_it_solves_as_the_whole_does(links):
    whole, blocks, row, column = _path(30, links)
    right = np.random.default_rng(1).normal(size=(30, 6, 3))
    found = BandedFactor.of(blocks, row, column).solve(right)
    assert found.reshape(180, 3) == pytest.approx(np.linalg.solve(whole, right.reshape(180, 3)), rel=1e-9, abs=1e-12)


def test_a_path_that_comes_back_has_a_narrow_band():
    # Out and back: the last frames see what the first ones do.
    links = [(i, j) for i in range(100) for j in range(i, 100) if abs(i - j) < 3 or abs(99 - i - j) < 3]
    _, blocks, row, column = _path(100, links)
    assert len(BandedFactor.of(blocks, row, column).diagonals) < 6 * 20


def test_what_is_not_positive_definite_is_told():
    _, blocks, row, column = _path(4, [])
    with pytest.raises(LinAlgError):
        BandedFactor.of(-blocks, row, column)
