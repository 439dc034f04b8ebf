"""How far points are expected to be off, relative to their distance; the fits behind it: docs/design-notes.md."""

import numpy as np

from dd_sfm.io.metric import MEDIAN_SIGMA
from dd_sfm.sfm.observation_geometry import model_angles_deg, model_errors_px
from dd_sfm.structures import FinishedModel, FloatArray, Model

GAP_ERROR_FACTOR, GAP_DEPTH_FACTOR = 2.0, 1.5
"""Tracks, and depths, that fill gaps are so many times less exact than they look: something is wrong there."""
SPACING_PER_ERROR = 0.25
"""Spacing of points in gaps, relative to their expected error: nearer to one another they tell nothing more."""
FOCAL_SHARE = 0.8
"""Median error of points, relative to their distance, that a focal length brings that is off by 1, relative to it.

Depths go with the focal length; scale and place of the whole take up some of that.
"""
WIDE_GAP = 1.25
"""In gaps so many times as wide as the depths are apart something is wrong; in narrower ones single depths failed."""
KEYPOINT_ERROR_FACTOR = 0.43
"""Error of SIFT's points, relative to that of dense tracks with the same angles and residuals."""


def track_uncertainty(model: Model) -> FloatArray:
    """Expected relative error (P,) of points of tracks, from residuals, angle and number of views.

    Propagated from the image: sigma_px / focal / sin(angle) / sqrt(views); what that leaves out (tracks that slide,
    light that moves) is a floor. The median true error of all tracks is about three quarters of this; of those that
    are left to fill gaps it is :data:`GAP_ERROR_FACTOR` times this, before the points around them count.
    """
    if not len(model.xyz):
        return np.zeros(0)
    views = np.bincount(model.point, minlength=len(model.xyz))
    error = model_errors_px(model) / model.camera.fx
    variance = np.bincount(model.point, weights=error**2, minlength=len(model.xyz)) / views
    angle = np.sin(np.radians(np.maximum(model_angles_deg(model), 0.3)))
    propagated = 2 * np.sqrt(variance + (0.3 / model.camera.fx) ** 2) / angle / np.sqrt(np.maximum(views - 1.5, 1))
    return np.asarray(np.sqrt(0.02**2 + (2.3 * propagated) ** 2))


def keypoint_uncertainty(model: Model) -> FloatArray:
    """Expected relative error (P,) of points of COLMAP's SIFT.

    Keypoints of neighbouring frames do not slide along smooth tissue as dense tracks do, so the same propagation
    expects too much of an error.
    """
    return KEYPOINT_ERROR_FACTOR * track_uncertainty(model)


def gap_error_factor(width: float, spacing: float, most: float = GAP_ERROR_FACTOR) -> float:
    """How many times less exact than it looks what fills gaps is, from 1 to ``most``.

    Args:
        width: From which on a hole is a gap.
        spacing: Of the depths, in the same unit. Where it is larger, most gaps are nothing but the next depth.
        most: The factor in wide gaps.
    """
    return float(np.clip(most * width / (WIDE_GAP * spacing), 1, most))


def whole_uncertainty(finished: FinishedModel, focal_sigma: float) -> FloatArray:
    """Expected relative errors (P,) of points: their own, that of the poses and that of the focal length together."""
    own = finished.uncertainty
    if finished.pose_error is not None:
        own = np.hypot(own, MEDIAN_SIGMA * finished.pose_error)
    return with_focal_sigma(own, focal_sigma)


def with_focal_sigma(uncertainty: FloatArray, focal_sigma: float) -> FloatArray:
    """Expected relative errors (P,), with that which an uncertain focal length brings to all points alike."""
    return np.asarray(np.hypot(uncertainty, FOCAL_SHARE * MEDIAN_SIGMA * focal_sigma))
