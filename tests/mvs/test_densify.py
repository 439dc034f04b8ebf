"""The final points: dense ones, and those of tracks where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from scene import make_scene
from scipy.spatial import cKDTree
from slanted import CAMERA, CONFIG, NORMAL, plane_model, write_clip

from dd_sfm.mvs.dense_points import DensePoints
from dd_sfm.mvs.densify import TRACK_GAP_FACTOR, densify_model, fill_gaps
from dd_sfm.mvs.uncertainty import keypoint_uncertainty, track_uncertainty
from dd_sfm.progress import silent
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_cleaning import clean
from dd_sfm.sfm.point_selection import depths, select_points
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import Model, Tracks

DENSE_UNCERTAINTY = 0.004


def seen_from(centres, error_px=0.0):
    """One point 10 units in front of cameras at these places (N, 2), each of which sees it ``error_px`` too far up."""
    poses = {k: np.column_stack([np.eye(3), [-x, -y, 0.0]]) for k, (x, y) in enumerate(centres)}
    xyz = np.array([[0.0, 0.0, 10.0]])
    xy = np.array([[CAMERA.cx - 10 * x, CAMERA.cy - 10 * y - error_px] for x, y in centres])
    count = len(centres)
    return Model(
        CAMERA, poses, xyz, np.zeros((1, 3), np.uint8), np.full(1, error_px), np.zeros(count, np.int64),
        np.arange(count), xy,
    )  # fmt: skip


def row(count, width):
    return np.column_stack([np.linspace(-width / 2, width / 2, count), np.zeros(count)])


def test_uncertainty_of_tracks_falls_with_angle_and_views_and_rises_with_error():
    narrow, wide = seen_from(row(4, 0.5)), seen_from(row(4, 2.0))
    assert track_uncertainty(narrow) > track_uncertainty(wide)
    assert track_uncertainty(wide) > track_uncertainty(seen_from(row(9, 2.0)))
    assert track_uncertainty(seen_from(row(4, 2.0), error_px=1.0)) > track_uncertainty(wide)


def test_uncertainty_of_tracks_is_what_the_image_predicts():
    # 4 views over 2 units at 10: the widest angle is 2 atan(1 / 10); residuals of 0.4 px and 0.3 px make 0.5 px.
    angle = np.sin(2 * np.arctan(0.1))
    propagated = 2 * 0.5 / 100 / angle / np.sqrt(2.5)
    expected = np.hypot(0.02, 2.3 * propagated)
    assert track_uncertainty(seen_from(row(4, 2.0), error_px=0.4))[0] == pytest.approx(expected, rel=1e-6)
    # However good, a track is not believed to better than 2 %.
    assert track_uncertainty(seen_from(row(200, 12.0)))[0] == pytest.approx(0.02, rel=0.05)


def test_keypoints_are_believed_more_than_tracks():
    model = seen_from(row(4, 2.0), error_px=0.4)
    assert keypoint_uncertainty(model) == pytest.approx(0.43 * track_uncertainty(model))


def test_uncertainty_does_not_depend_on_the_unit_of_length():
    model = seen_from(row(5, 1.0), error_px=0.3)
    scaled = {k: np.column_stack([p[:, :3], 7 * p[:, 3]]) for k, p in model.cam_from_world.items()}
    larger = replace(model, xyz=7 * model.xyz, cam_from_world=scaled)
    assert track_uncertainty(larger) == pytest.approx(track_uncertainty(model))


def test_no_tracks_have_no_uncertainty():
    assert track_uncertainty(select_points(plane_model(), np.zeros(len(plane_model().xyz), bool))).shape == (0,)


def dense_left(spacing=0.5):
    """Dense points on the left half of the plane."""
    whole = plane_model(spacing)
    part = select_points(whole, whole.xyz[:, 0] < 0)
    return DensePoints(part, np.full(len(part.xyz), DENSE_UNCERTAINTY), {"dense_points": len(part.xyz)})


def test_tracks_fill_only_gaps():
    dense, sparse = dense_left(), plane_model(1.0)
    found = fill_gaps(dense, sparse, CONFIG, 1.0)
    of_tracks = found.uncertainty > DENSE_UNCERTAINTY
    added = found.model.xyz[of_tracks]
    gap = TRACK_GAP_FACTOR * CONFIG.dense.gap_px * depths(found.model)[of_tracks] / CAMERA.fx
    assert len(added) > 5
    assert (cKDTree(dense.model.xyz).query(added)[0] > gap).all()
    # Spaced like the gap: about one to a cell, so fewer than there are tracks.
    right = sparse.xyz[:, 0] > 2
    assert len(added) < 0.7 * right.sum()
    assert found.figures["track_points"] >= len(added)
    assert found.figures["dense_points"] == len(dense.model.xyz)
    assert len(found.uncertainty) == len(found.model.xyz)
    assert found.model.xyz @ NORMAL == pytest.approx(np.ones(len(found.model.xyz)))


def test_unsure_tracks_fill_nothing():
    dense, sparse = dense_left(), plane_model(1.0)
    strict = replace(CONFIG, dense=replace(CONFIG.dense, max_gap_uncertainty=0.02))
    found = fill_gaps(dense, sparse, strict, 1.0)
    assert found.figures["track_points"] == 0
    assert (found.uncertainty == DENSE_UNCERTAINTY).all()


def test_dense_points_everywhere_leave_no_gap():
    whole = plane_model(0.5)
    dense = DensePoints(whole, np.full(len(whole.xyz), DENSE_UNCERTAINTY), {})
    found = fill_gaps(dense, plane_model(1.0), CONFIG, 1.0)
    assert found.figures["track_points"] == 0
    none = select_points(whole, np.zeros(len(whole.xyz), bool))
    assert len(fill_gaps(dense, none, CONFIG, 1.0).model.xyz) == len(found.model.xyz)


def test_without_dense_points_all_tracks_stay():
    sparse = plane_model(1.0)
    nothing = DensePoints(select_points(sparse, np.zeros(len(sparse.xyz), bool)), np.zeros(0), {"depth_maps": 0})
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
    assert found.figures == {}


def test_no_tracks_no_dense_search():
    frames, _, truth = make_scene(points=50)
    none = np.zeros(0, np.int64)
    empty = Tracks(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
    found = densify_model(frames, empty, truth.cam_from_world, frames.camera, CONFIG, silent)
    assert len(found.model.xyz) == len(found.uncertainty) == 0


def test_from_tracks_to_dense_points(tmp_path):
    clip = write_clip(tmp_path)
    truth = plane_model(3.0)
    noisy = (truth.xy + np.random.default_rng(0).normal(0, 0.2, truth.xy.shape)).astype(np.float32)
    anchor = np.r_[True, np.diff(truth.point) > 0]
    tracks = Tracks(truth.point, truth.frame, noisy, np.ones(len(noisy), np.float32), anchor)
    found = densify_model(clip, tracks, truth.cam_from_world, CAMERA, CONFIG, silent)
    assert len(found.model.xyz) > 10 * len(truth.xyz)
    assert found.figures["dense_points"] > 10 * len(truth.xyz)
    assert found.figures["track_points"] < 0.5 * len(truth.xyz)
    # Adjusting moves and scales the whole a little: a plane it stays.
    centred = found.model.xyz - found.model.xyz.mean(0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][-1]
    assert np.median(np.abs(centred @ normal)) < 0.03
    assert found.model.xyz.shape == (len(found.uncertainty), 3)
