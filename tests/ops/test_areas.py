import numpy as np
import pytest

from dd_sfm.ops.areas import Bounds, bounds_of, convex_hull, largest_part


@pytest.fixture
def area():
    """A bent area of 18 pixels, and one pixel apart."""
    found = np.zeros((12, 20), np.uint8)
    found[2:8, 3:5] = found[6:8, 5:8] = found[10, 15] = 1
    return found


def test_the_box_around_an_area(area):
    box = bounds_of(area > 0)
    assert box == Bounds(3, 2, 16, 11)
    assert (box.width, box.height) == (13, 9)
    assert area[box.part].sum() == area.sum()
    assert box.grown(3, (20, 12)) == (0, 0, 19, 12)


def test_the_largest_part_and_its_hull(area):
    part = largest_part(area)
    assert part.sum() == 18
    assert not part[10, 15]
    hull = convex_hull(part)
    assert (hull & part).sum() == 18
    assert hull[5, 5]
    assert not hull[2, 7]
    assert largest_part(np.zeros((4, 4), np.uint8)) is None
