import numpy as np
import pytest

from dd_sfm.ops.frame_rows import FrameRows


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_rows_of_frames_are_found_block_by_block(monkeypatch, at_once):
    monkeypatch.setattr("dd_sfm.ops.frame_rows.ROWS", at_once)
    frame = np.random.default_rng(0).permutation(np.repeat([3, -2, 10**12, 4], [9, 1, 30, 2]))
    rows = FrameRows(frame)
    assert rows.frames.tolist() == [-2, 3, 4, 10**12]
    for wanted in (-3, -2, 0, 3, 4, 10**12, 10**12 + 1):
        assert rows.of(wanted).tolist() == np.flatnonzero(frame == wanted).tolist()
    assert rows.of_range(3, 5).tolist() == np.flatnonzero((frame == 3) | (frame == 4)).tolist()


def test_no_rows_hold_no_frames():
    rows = FrameRows(np.zeros(0, np.int32))
    assert len(rows.frames) == len(rows.of(0)) == len(rows.of_range(0, 9)) == 0
