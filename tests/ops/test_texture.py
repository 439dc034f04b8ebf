import numpy as np
import pytest

from dd_sfm.ops.texture import step_share, texture_offset


def test_texture_all_around_does_not_lean():
    rows, columns = np.mgrid[:40, :40]
    offset = texture_offset(100 + 20 * np.sin(columns) + 20 * np.sin(rows), 11)
    assert offset[10:30, 10:30].max() < 1.0


def test_a_single_edge_is_as_far_away_as_it_is():
    picture = np.zeros((30, 40), np.float32)
    picture[:, 20:] = 100  # the edge lies at 19.5
    offset = texture_offset(picture, 11)
    for column in (16, 18, 20, 22):
        assert offset[15, column] == pytest.approx(abs(column - 19.5), abs=0.01)


def test_without_any_texture_nothing_leans():
    assert texture_offset(np.full((20, 20), 7, np.uint8), 11).max() == 0.0


def test_a_step_is_told_from_lines_and_waves():
    rows, columns = np.mgrid[:60, :60]
    grey = 20.0 * np.sin(columns) + 20 * np.sin(rows)
    line, step = grey.copy(), grey.copy()
    line[:, 28:32] += 100
    step[:, 30:] += 100
    plain, lined, stepped = (step_share(a, 5.0)[15:45, 29:31] for a in (grey, line, step))
    assert plain.max() < 0.01
    assert stepped.min() > 10 * lined.max()
