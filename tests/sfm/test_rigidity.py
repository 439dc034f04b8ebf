"""Tissue that moves, told from noise."""

from dataclasses import replace

import numpy as np
import pytest
from scene import CAMERA, make_scene

from dd_sfm.sfm.rigidity import LARGEST_GROWTH, ResidualGrowth, residual_growth


@pytest.fixture(scope="module")
def scene():
    """Tracks of 24 frames of a scene that holds still, and the true poses."""
    _, tracks, truth = make_scene(24, points=2000, outliers=0.05)
    return tracks, truth.cam_from_world


def moved(tracks, way, size):
    """Tracks that swing to and fro along their ways (T, 2)."""
    swing = size * np.sin(tracks.frame / 4)[:, None] * way[tracks.track]
    return replace(tracks, xy=(tracks.xy + swing).astype(np.float32))


def test_residuals_of_a_scene_that_holds_still_hardly_grow(scene):
    tracks, poses = scene
    growth = residual_growth(tracks, poses, CAMERA, 1.0, 0)
    assert 1 < growth.whole < 1.5
    assert not growth.is_large


def test_what_moves_by_itself_makes_them_grow(scene):
    tracks, poses = scene
    way = np.random.default_rng(0).normal(size=(tracks.count, 2))
    growth = residual_growth(moved(tracks, way, 3), poses, CAMERA, 1.0, 0)
    assert growth.whole > LARGEST_GROWTH


def test_neighbours_that_move_together_are_told_sooner(scene):
    tracks, poses = scene
    first = np.searchsorted(tracks.track, np.arange(tracks.count))
    place = tracks.xy[first] / 150
    together = np.column_stack([np.sin(place[:, 0]), np.cos(place[:, 1])])
    alone = np.random.default_rng(0).normal(0, 0.7, (tracks.count, 2))
    shared, single = (residual_growth(moved(tracks, way, 0.7), poses, CAMERA, 1.0, 0) for way in (together, alone))
    assert max(shared.whole, single.whole) < LARGEST_GROWTH
    assert shared.is_large
    assert not single.is_large


def test_few_frames_and_few_observations_do_not_tell(scene):
    tracks, poses = scene
    assert residual_growth(tracks, {k: poses[k] for k in range(17)}, CAMERA, 1.0, 0) is None
    assert residual_growth(tracks.where(tracks.track < 20), poses, CAMERA, 1.0, 0) is None


def test_figures_are_read_back():
    growth = ResidualGrowth(1.5, 1.25)
    assert ResidualGrowth.read(growth.figures()) == growth
    assert ResidualGrowth.read(ResidualGrowth(1.5, None).figures()) == ResidualGrowth(1.5, None)
    assert ResidualGrowth.read({}) is None
