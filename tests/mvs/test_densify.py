"""The final points: dense ones, and those of tracks where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from scene import make_scene
from scipy.spatial import cKDTree
from slanted import CAMERA, CONFIG, NORMAL, plane_model, write_clip

from dd_sfm.mvs.dense_points import DensePoints
from dd_sfm.mvs.densify import TRACK_GAP_FACTOR, _among_neighbours, densify_model, fill_gaps
from dd_sfm.mvs.neighbours import uncertainty_among_neighbours
from dd_sfm.mvs.uncertainty import track_uncertainty
from dd_sfm.progress import silent
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_cleaning import clean
from dd_sfm.sfm.point_selection import depths, select_points
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FinishedModel, Tracks

DENSE_UNCERTAINTY = 0.004


def dense_left(spacing=0.5):
    """Dense points on the left half of the plane."""
    whole = plane_model(spacing)
    part = select_points(whole, whole.xyz[:, 0] < 0)
    return DensePoints([part], np.full(len(part.xyz), DENSE_UNCERTAINTY), {"dense_points": len(part.xyz)})


def test_tracks_fill_only_gaps():
    dense, sparse = dense_left(), plane_model(1.0)
    (points,) = dense.parts
    found = fill_gaps(dense, sparse, CONFIG, 1.0)
    assert dense.parts == []
    of_tracks = found.uncertainty > DENSE_UNCERTAINTY
    added = found.model.xyz[of_tracks]
    gap = TRACK_GAP_FACTOR * CONFIG.dense.gap_px * depths(found.model)[of_tracks] / CAMERA.fx
    assert len(added) > 5
    assert (cKDTree(points.xyz).query(added)[0] > gap).all()
    # Spaced like the gap: about one to a cell, so fewer than there are tracks.
    right = sparse.xyz[:, 0] > 2
    assert len(added) < 0.7 * right.sum()
    assert found.figures["track_points"] >= len(added)
    assert found.figures["dense_points"] == len(points.xyz)
    assert len(found.uncertainty) == len(found.model.xyz)
    assert found.model.xyz @ NORMAL == pytest.approx(np.ones(len(found.model.xyz)))


def test_unsure_tracks_fill_nothing():
    dense, sparse = dense_left(), plane_model(1.0)
    strict = replace(CONFIG, dense=replace(CONFIG.dense, max_gap_uncertainty=0.02))
    found = fill_gaps(dense, sparse, strict, 1.0)
    assert found.figures["track_points"] == 0
    assert (found.uncertainty == DENSE_UNCERTAINTY).all()


def test_the_points_around_count_where_there_are_dense_ones():
    model = plane_model(0.5)
    finished = FinishedModel(model, np.full(len(model.xyz), DENSE_UNCERTAINTY), {"dense_points": 1})
    found = _among_neighbours(finished, CONFIG, 0.5).uncertainty
    # Half of a source pixel is a working pixel, of which depths are at least one apart.
    apart = max(1, round(0.5 * CONFIG.dense.spacing_px)) / (0.5 * CAMERA.fx)
    expected = uncertainty_among_neighbours(model.xyz, depths(model), finished.uncertainty, apart, 0.5)
    assert (found == expected).all()
    assert (found != DENSE_UNCERTAINTY).any()
    of_tracks = replace(finished, figures={"dense_points": 0})
    assert _among_neighbours(of_tracks, CONFIG, 0.5) is of_tracks


def test_dense_points_everywhere_leave_no_gap():
    whole = plane_model(0.5)
    left = whole.xyz[:, 0] < 0
    halves = [select_points(whole, left), select_points(whole, ~left)]
    expected = np.full(len(whole.xyz), DENSE_UNCERTAINTY)
    found = fill_gaps(DensePoints([*halves], expected, {}), plane_model(1.0), CONFIG, 1.0)
    assert found.figures["track_points"] == 0
    none = select_points(whole, np.zeros(len(whole.xyz), bool))
    assert len(fill_gaps(DensePoints(halves, expected, {}), none, CONFIG, 1.0).model.xyz) == len(found.model.xyz)


def test_without_dense_points_all_tracks_stay():
    sparse = plane_model(1.0)
    nothing = DensePoints([], np.zeros(0), {"depth_maps": 0})
    found = fill_gaps(nothing, sparse, CONFIG, 1.0)
    assert found.model is sparse
    assert found.uncertainty == pytest.approx(track_uncertainty(sparse))
    assert found.figures == {"depth_maps": 0}


def test_dense_search_off_gives_the_cloud_of_the_tracks():
    frames, tracks, truth = make_scene(points=400)
    off = replace(CONFIG, dense=replace(CONFIG.dense, enabled=False))
    found = densify_model(frames, tracks, truth.cam_from_world, frames.camera, off, silent)
    alone = clean(triangulate(tracks, truth.cam_from_world, frames.camera, off, scale=error_scale(frames))[0])
    assert len(alone.xyz) > 200
    assert (found.model.xyz == alone.xyz).all()
    assert (found.model.point == alone.point).all()
    assert found.uncertainty == pytest.approx(track_uncertainty(alone))
    assert found.pose_error.shape == (len(found.model.xyz),)
    assert found.figures == {}


def test_no_tracks_no_dense_search():
    frames, _, truth = make_scene(points=50)
    none = np.zeros(0, np.int64)
    empty = Tracks(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
    found = densify_model(frames, empty, truth.cam_from_world, frames.camera, CONFIG, silent)
    assert len(found.model.xyz) == len(found.uncertainty) == 0


def test_from_tracks_to_dense_points(tmp_path, monkeypatch):
    clip = write_clip(tmp_path)
    truth = plane_model(3.0)
    noisy = (truth.xy + np.random.default_rng(0).normal(0, 0.2, truth.xy.shape)).astype(np.float32)
    anchor = np.r_[True, np.diff(truth.point) > 0]
    tracks = Tracks(truth.point, truth.frame, noisy, np.ones(len(noisy), np.float32), anchor)
    monkeypatch.setattr("dd_sfm.mvs.densify.uncertainty_among_neighbours", lambda xyz, *more: np.full(len(xyz), 0.123))
    found = densify_model(clip, tracks, truth.cam_from_world, CAMERA, CONFIG, silent)
    assert (found.uncertainty == 0.123).all()
    assert len(found.model.xyz) > 10 * len(truth.xyz)
    assert found.figures["dense_points"] > 10 * len(truth.xyz)
    assert found.figures["track_points"] < 0.5 * len(truth.xyz)
    # Adjusting moves and scales the whole a little: a plane it stays.
    centred = found.model.xyz - found.model.xyz.mean(0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][-1]
    assert np.median(np.abs(centred @ normal)) < 0.03
    assert found.model.xyz.shape == (len(found.uncertainty), 3)
    assert (found.pose_error > 0).all()
