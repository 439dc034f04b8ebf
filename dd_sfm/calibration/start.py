"""Where a fit begins: a focal length, and a pose of the board in every view."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from dd_sfm.calibration.fitting import Fit, View, fit, rms
from dd_sfm.calibration.lens_models import FISHEYE, Floats, LensModel, distorted_radius, project

FOCAL_RANGE = 0.15, 4.0
"""Shortest and longest focal length tried, in units of the picture's longer side."""
ROBUST_PX1000 = 2.0
"""Residual above which corners count less at first, in pixels of a picture of 1000."""


def first_fit(views: Sequence[View], size: tuple[int, int], centre: tuple[float, float]) -> Fit:
    """A fisheye that all views roughly agree with, its focal length tried from short to long.

    Where angles grow evenly with the distance from the centre, wide and narrow lenses alike are met well enough for
    the poses of a flat board; all other models begin there.

    Args:
        views: What is seen.
        size: Width and height of the picture.
        centre: Where the axis is thought to be.
    """
    focals = np.geomspace(*FOCAL_RANGE, 18) * max(size)
    tried = [_equidistant(float(f), views, centre) for f in focals]
    start = min(tried, key=lambda found: float(np.median(found.view_median_px)))
    robust = ROBUST_PX1000 * max(size) / 1000
    for names in (("fx", "fy"), ("fx", "fy", "k1"), ("fx", "fy", "cx", "cy", "k1"), FISHEYE.parameters):
        free = np.isin(FISHEYE.parameters, names)
        start = fit(start, views, free=free, robust_px=robust)
    return start


def _equidistant(focal: float, views: Sequence[View], centre: tuple[float, float]) -> Fit:
    """Poses by a fisheye without distortion."""
    params = np.array([focal, focal, *centre, 0, 0, 0, 0])
    poses, residuals = [], []
    for view in views:
        pose = planar_pose(FISHEYE, params, view)
        poses.append(pose)
        residuals.append(project(FISHEYE, params, pose, view.points)[0] - view.xy)
    return Fit(FISHEYE, params, np.array(poses), tuple(residuals))


def planar_pose(model: LensModel, params: Floats, view: View) -> Floats:
    """A pose (6,) of a flat board by a fisheye without distortion; far away where the lens cannot show it so."""
    away = np.array([0, 0, 0, 0, 0, 1e6])
    flat = (view.xy - params[2:4]) / params[:2]
    angle = np.linalg.norm(flat, axis=1)
    if angle.max() > 1.45:
        return away
    flat = flat * (np.tan(angle) / np.maximum(angle, 1e-9))[:, None]
    try:
        found, rotations, translations, _ = cv2.solvePnPGeneric(
            view.points, flat, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return away
    poses = [np.concatenate([r.ravel(), t.ravel()]) for r, t in zip(rotations, translations, strict=True) if t[2] > 0]
    if not found or not poses:
        return away
    return min(poses, key=lambda pose: rms(project(model, params, pose, view.points)[0] - view.xy))


def change_model(found: Fit, views: Sequence[View], model: LensModel, size: tuple[int, int]) -> Fit:
    """The same lens by another model, fitted to the same views.

    Raises:
        ArithmeticError: If the model cannot show the board where it is seen.
    """
    robust = ROBUST_PX1000 * max(size) / 1000
    if model is found.model:
        return fit(found, views, robust_px=robust)
    # Where the corners are seen, radii of the new model are fitted to those of the old one.
    angles = np.concatenate([_angles(pose, view) for pose, view in zip(found.poses, views, strict=True)])
    angle = np.linspace(0.02, min(float(np.percentile(angles, 98)), np.radians(75)), 200)
    radius = distorted_radius(found.model, found.params[4:], angle)
    x = np.tan(angle)
    powers = np.stack([x ** (2 * k + 1) for k in range(len(model.radial(np.zeros(len(model.coefficients)))) + 1)], 1)
    scaled = np.linalg.lstsq(powers, radius, rcond=None)[0]
    distortion = np.zeros(len(model.coefficients))
    distortion[[0, 1, *range(4, len(distortion))]] = scaled[1:] / scaled[0]
    params = np.concatenate([found.params[:2] * scaled[0], found.params[2:4], distortion])
    start = replace(found, model=model, params=params)
    fitted = fit(start, views, robust_px=robust)
    if not np.isfinite(fitted.params).all():
        raise ArithmeticError
    return fitted


def _angles(pose: Floats, view: View) -> Floats:
    """Angles (N,) of a board's corners from the axis."""
    seen = view.points @ cv2.Rodrigues(pose[:3])[0].T + pose[3:]
    return np.arctan2(np.linalg.norm(seen[:, :2], axis=1), seen[:, 2])
