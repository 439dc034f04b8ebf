import cv2
import numpy as np
import pytest

from dd_sfm.config import MatchConfig
from dd_sfm.features.queries import query_points
from dd_sfm.ops.working import WorkingFrame


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.integers(0, 255, (120, 160)).astype(np.uint8), (0, 0), 1.5)
    mask = np.zeros((120, 160), bool)
    mask[20:100, 20:140] = True
    return WorkingFrame(np.repeat(grey[..., None], 3, axis=2), mask)


@pytest.mark.parametrize("kind", ["corners", "grid", "sift"])
def test_points_lie_inside_and_one_a_cell(frame, kind):
    xy = query_points(frame, MatchConfig(query=kind, query_spacing_px=8))
    assert len(xy) > 30
    assert xy.dtype == np.float32
    column, row = np.round(xy).astype(int).T
    assert frame.mask[row, column].all()
    cells = np.floor(xy / 8).astype(int)
    assert len(np.unique(cells, axis=0)) == len(xy)


def test_corners_cover_the_grid(frame):
    corners = query_points(frame, MatchConfig(query="corners", query_spacing_px=8))
    grid = query_points(frame, MatchConfig(query="grid", query_spacing_px=8))
    assert len(corners) >= len(grid)


def test_cells_with_a_track_are_left_out(frame):
    config = MatchConfig(query_spacing_px=8)
    first = query_points(frame, config)
    assert len(query_points(frame, config, first)) == 0
    rest = query_points(frame, config, first[:10])
    assert len(rest) == len(first) - 10


def test_most_points(frame):
    assert len(query_points(frame, MatchConfig(query_spacing_px=6, max_queries=17))) == 17


def test_nothing_usable(frame):
    empty = WorkingFrame(frame.image, np.zeros_like(frame.mask))
    assert query_points(empty, MatchConfig()).shape == (0, 2)
