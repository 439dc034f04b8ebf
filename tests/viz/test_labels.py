import numpy as np
import pytest

from dd_sfm.viz.render.colours import UNKNOWN_RGB, ColourScale, colour_scale, colour_table
from dd_sfm.viz.render.labels import draw_colour_bar, write_label

GREY = np.full((120, 300, 3), 128, np.uint8)


def changed(image):
    rows, columns = np.nonzero((image != GREY).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_a_scale_maps_its_ends_and_what_is_beyond():
    scale = ColourScale("x", 1.0, 3.0)
    table = colour_table("turbo")
    rgb = scale.rgb(np.array([1.0, 3.0, -5.0, 9.0, 2.0, np.nan, np.inf]))
    assert (rgb[[0, 2]] == table[0]).all()
    assert (rgb[[1, 3]] == table[-1]).all()
    assert np.abs(rgb[4].astype(int) - table[128]).max() < 6
    assert (rgb[5:] == UNKNOWN_RGB).all()


def test_a_scale_of_values_leaves_the_ends_out():
    scale = colour_scale("x", np.r_[np.arange(101.0), np.nan])
    assert (scale.low, scale.high) == (2.0, 98.0)
    assert colour_scale("x", np.full(5, 7.0)).high > 7.0
    assert colour_scale("x", np.full(5, np.nan)).high == 1.0


@pytest.mark.parametrize("is_right", [False, True])
def test_a_label_is_in_its_corner_and_the_image_stays(is_right):
    labelled = write_label(GREY, "frame 7", right=is_right, box=(0, 0, 0))
    assert (GREY == 128).all()
    top, _, left, right = changed(labelled)
    assert top < 20
    assert right > 280 if is_right else left < 20
    assert right - left < 150


def test_a_long_label_stays_inside():
    _, _, left, right = changed(
        write_label(GREY, "a rather long label for such a small picture, is it not", box=(0, 0, 0))
    )
    assert left > 0
    assert right < 299


def test_a_drawn_scale_shows_its_colours():
    drawn = draw_colour_bar(GREY, ColourScale("depth", 0, 10))
    table = colour_table("turbo")
    for rgb in (table[0], table[-1]):
        assert (drawn == rgb).all(2).any()
    top, _, left, _ = changed(drawn)
    assert top > 60
    assert left > 100
