"""Vessels on the mucosa: which organ has which, and that a tile repeats without a seam."""

from dataclasses import replace

import numpy as np
import pytest

from dd_sfm.synthetic.settings import preset
from dd_sfm.synthetic.tissue import draw_trees, draw_vessels, make_tissue

VERTICES = np.random.default_rng(0).uniform(-20, 20, (50, 3))


def test_trees_repeat_without_a_seam():
    tile = draw_trees(np.random.default_rng(3), 6)
    assert tile.min() >= 0
    assert 0.7 < tile.max() <= 1
    # Fine vessels on pale ground.
    assert 0.02 < (tile > 0.2).mean() < 0.15
    for axis in (0, 1):
        step = np.abs(tile - np.roll(tile, 1, axis)).max(1 - axis)
        assert step[0] <= step[1:].max()
        # Some vessel crosses the border.
        assert np.take(tile, 0, axis).max() > 0.2


def test_only_the_bladder_has_trees():
    tissue = preset("bladder", "real").tissue
    expected = draw_trees(np.random.default_rng(1), tissue.trees)
    assert np.array_equal(make_tissue(VERTICES, tissue, np.random.default_rng(1)).textures[0][..., 0], expected)


@pytest.mark.parametrize("organ", ["sinus", "colon"])
def test_other_organs_keep_their_winding_vessels(organ):
    made = make_tissue(VERTICES, preset(organ, "real").tissue, np.random.default_rng(1))
    expected = draw_vessels(np.random.default_rng(1), trees=9, width_px=13.0, steps=150)
    assert np.array_equal(made.textures[0][..., 0], expected)
    assert made.settings == replace(made.settings, trees=0)


def test_an_easy_clip_shows_no_fewer_vessels():
    for organ in ("sinus", "colon", "bladder"):
        assert preset(organ, "easy").tissue.coverage >= preset(organ, "real").tissue.coverage
