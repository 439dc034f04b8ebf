import numpy as np
import pytest
from scene import make_scene

from dd_sfm.config import Config
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


def test_blocks_change_nothing(scene, monkeypatch):
    frames, tracks, truth = scene
    whole, _ = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    monkeypatch.setattr("dd_sfm.sfm.triangulation.CHUNK_OBSERVATIONS", 500)
    parts, _ = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    # Random hypotheses differ between blocks, so a few borderline points may too.
    assert abs(len(parts.xyz) - len(whole.xyz)) <= 0.01 * len(whole.xyz)


def test_no_tracks():
    frames, _, truth = make_scene(points=50)
    none = np.zeros(0, np.int64)
    empty = Tracks(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
    model, _ = triangulate(empty, truth.cam_from_world, frames.camera, Config())
    assert len(model.xyz) == 0
    assert len(to_cloud(clean(model)).xyz) == 0
