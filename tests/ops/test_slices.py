"""Rows a part at a time."""

import pytest

from dd_sfm.ops.slices import slices


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_every_row_is_in_one_slice(count, sizes):
    rows = list(range(count))
    parts = [rows[part] for part in slices(count, 4)]
    assert [len(part) for part in parts] == sizes
    assert [row for part in parts for row in part] == rows
