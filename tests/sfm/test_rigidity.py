"""Tissue that moves, told from noise."""

from dataclasses import replace

import numpy as np
import pytest
from scene import CAMERA, make_scene

from dd_sfm.sfm.rigidity import LARGEST_GROWTH, residual_growth


@pytest.fixture(scope="module")
def scene():
    """Tracks of 24 frames of a scene that holds still, and the true poses."""
    _, tracks, truth = make_scene(24, points=400, outliers=0.05)
    return tracks, truth.cam_from_world


def test_residuals_of_a_scene_that_holds_still_hardly_grow(scene):
    tracks, poses = scene
    assert 1 < residual_growth(tracks, poses, CAMERA, 1.0, 0) < 1.5


def test_tissue_that_moves_makes_them_grow(scene):
    tracks, poses = scene
    way = np.random.default_rng(0).normal(size=(tracks.count, 2))[tracks.track]
    moved = tracks.xy + 3 * np.sin(tracks.frame / 4)[:, None] * way
    assert residual_growth(replace(tracks, xy=moved.astype(np.float32)), poses, CAMERA, 1.0, 0) > LARGEST_GROWTH


def test_few_frames_and_few_observations_do_not_tell(scene):
    tracks, poses = scene
    assert residual_growth(tracks, {k: poses[k] for k in range(17)}, CAMERA, 1.0, 0) is None
    assert residual_growth(tracks.where(tracks.track < 20), poses, CAMERA, 1.0, 0) is None
