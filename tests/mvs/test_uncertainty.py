"""How far points are expected to be off."""

from dataclasses import replace

import numpy as np
import pytest
from slanted import CAMERA, plane_model

from dd_sfm.io.metric import MEDIAN_SIGMA
from dd_sfm.mvs.uncertainty import (
    gap_error_factor,
    keypoint_uncertainty,
    track_uncertainty,
    whole_uncertainty,
    with_focal_sigma,
)
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.structures import FinishedModel, Model


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


def test_an_uncertain_focal_length_makes_all_points_uncertain():
    known = np.array([0.01, 0.1])
    assert with_focal_sigma(known, 0.0) == pytest.approx(known)
    # Half of the points are off by more than half of the focal length's standard deviation.
    assert with_focal_sigma(known, 0.3) == pytest.approx(np.hypot(known, 0.161), rel=0.01)


def test_errors_of_poses_and_focal_length_come_on_top():
    model = seen_from(row(4, 2.0))
    own = np.array([0.01])
    assert whole_uncertainty(FinishedModel(model, own), 0.0) == pytest.approx(own)
    with_poses = FinishedModel(model, own, pose_error=np.array([0.02]))
    both = np.hypot(0.01, MEDIAN_SIGMA * 0.02)
    assert whole_uncertainty(with_poses, 0.0) == pytest.approx(both)
    assert whole_uncertainty(with_poses, 0.1) == pytest.approx(with_focal_sigma(np.array([both]), 0.1))


def test_what_fills_gaps_between_single_depths_is_believed():
    assert gap_error_factor(5, 4) == gap_error_factor(50, 4) == 2
    assert 1 < gap_error_factor(5, 7) < 1.5
    assert gap_error_factor(5, 40) == gap_error_factor(5, 8, 1.5) == 1
    assert gap_error_factor(5, 4, 1.5) == 1.5
