from dataclasses import replace

import numpy as np
import pytest
from scene import make_scene

from dd_sfm.config import Config, RuntimeConfig
from dd_sfm.pipeline.metrics import model_figures
from dd_sfm.sfm.point_cleaning import clean
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import Tracks


@pytest.fixture(scope="module")
def scene():
    return make_scene(points=800, outliers=0.2)


def test_points_are_right_in_spite_of_wrong_observations(scene):
    frames, tracks, truth = scene
    model, source = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    names = np.unique(truth.point)  # every true point has two observations or more here
    error = np.linalg.norm(model.xyz - truth.xyz[names[source]], axis=1)
    assert len(model.xyz) > 0.6 * tracks.count
    assert np.median(error) < 0.02
    assert np.percentile(error, 95) < 0.3
    assert model.error_px.max() <= Config().triangulation.max_reprojection_px
    figures = model_figures(model)
    assert figures["median_reprojection_error_px"] == pytest.approx(0.33, abs=0.1)
    assert figures["points"] == len(model.xyz)


def test_threads_change_nothing(scene):
    frames, tracks, truth = scene
    one, three = (
        triangulate(
            tracks, truth.cam_from_world, frames.camera, replace(Config(), runtime=RuntimeConfig(threads=count))
        )
        for count in (1, 3)
    )
    assert np.array_equal(one[0].xyz, three[0].xyz)
    assert np.array_equal(one[0].point, three[0].point)
    assert np.array_equal(one[1], three[1])


def test_no_tracks():
    frames, _, truth = make_scene(points=50)
    none = np.zeros(0, np.int64)
    empty = Tracks(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
    model, _ = triangulate(empty, truth.cam_from_world, frames.camera, Config())
    assert len(model.xyz) == 0
    assert len(to_cloud(clean(model)).xyz) == 0
