"""Least squares over the parameters of a lens and the poses of a board, and how sure the parameters are.

OpenCV's own ``fisheye.calibrate`` gives no standard deviations, bears no outliers and fails on views that its start
does not suit; so both kinds of lenses are fitted here, with OpenCV's projections and derivatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.lens_models import Floats, LensModel, project

MAX_STEPS = 60
"""Steps of Levenberg and Marquardt."""


@dataclass(frozen=True)
class View:
    """A board in a frame: ``points`` (N, 3) on the board, and where they are seen, ``xy`` (N, 2) in pixels."""

    frame: int
    points: Floats
    xy: Floats


@dataclass(frozen=True)
class Fit:
    """A fitted lens: parameters (P,), the pose of the board in every view (V, 6), and residuals (N, 2) of every view.

    A pose is a rotation vector and a translation of cam_from_world. ``residuals`` are projected minus seen, in pixels.
    """

    model: LensModel
    params: Floats
    poses: Floats
    residuals: tuple[Floats, ...]

    @property
    def rms_px(self) -> float:
        """Root mean square distance between projected and seen corners."""
        return rms(np.concatenate(self.residuals))

    @property
    def view_rms_px(self) -> Floats:
        """The same by view (V,)."""
        return np.array([rms(r) for r in self.residuals])

    @property
    def median_px(self) -> float:
        """Median distance between projected and seen corners."""
        return median_length(np.concatenate(self.residuals))

    @property
    def view_median_px(self) -> Floats:
        """The same by view (V,)."""
        return np.array([median_length(r) for r in self.residuals])


def median_length(residuals: Floats) -> float:
    """Median length of residuals (N, 2)."""
    return float(np.median(np.linalg.norm(residuals, axis=1)))


def rms(residuals: Floats) -> float:
    """Root mean square length of residuals (N, 2)."""
    return float(np.sqrt((residuals**2).sum(1).mean()))


@dataclass(frozen=True)
class _Normal:
    """Normal equations: cost, those of the parameters, and of every pose its own, its part in both, its gradient."""

    cost: float
    params: Floats
    gradient: Floats
    poses: tuple[tuple[Floats, Floats, Floats], ...]


def fit(
    start: Fit, views: Sequence[View], *, free: NDArray[np.bool_] | None = None, robust_px: float | None = None
) -> Fit:
    """Minimise the residuals over the free parameters and all poses.

    Args:
        start: Parameters and poses to begin with, those of ``views``.
        views: What is seen.
        free: Which parameters (P,) move; None for all. All poses move.
        robust_px: Residuals above count in proportion to their length alone (Huber's loss); None: all are squared.
    """
    moving = np.ones(len(start.params), bool) if free is None else free
    params, poses = start.params.copy(), start.poses.copy()
    damping = 1e-3
    system = _linearise(start.model, params, poses, views, moving, robust_px)
    for _ in range(MAX_STEPS):
        step, pose_steps = _step(system, damping)
        tried, tried_poses = params.copy(), poses + pose_steps
        tried[moving] += step
        found = _linearise(start.model, tried, tried_poses, views, moving, robust_px)
        gain = system.cost - found.cost
        if not np.isfinite(found.cost) or gain < 0:
            damping *= 8
            if damping > 1e10:
                break
            continue
        is_done = gain <= 1e-9 * system.cost
        params, poses, system = tried, tried_poses, found
        damping = max(damping / 6, 1e-12)
        if is_done:
            break
    residuals = tuple(project(start.model, params, p, v.points)[0] - v.xy for p, v in zip(poses, views, strict=True))
    return replace(start, params=params, poses=poses, residuals=residuals)


def _linearise(
    model: LensModel, params: Floats, poses: Floats, views: Sequence[View], moving: NDArray[np.bool_],
    robust_px: float | None,
) -> _Normal:  # fmt: skip
    count = int(moving.sum())
    cost, full, gradient = 0.0, np.zeros((count, count)), np.zeros(count)
    by_view = []
    for pose, view in zip(poses, views, strict=True):
        xy, by_pose, by_params = project(model, params, pose, view.points)
        residuals = xy - view.xy
        length = np.linalg.norm(residuals, axis=1)
        if not np.isfinite(length).all():
            return _Normal(np.inf, full, gradient, ())
        weight = np.ones_like(length) if robust_px is None else robust_px / np.maximum(length, robust_px)
        cost += float((weight * length**2 * (2 - weight)).sum())
        root = np.sqrt(weight)[:, None, None]
        a = (by_params[:, :, moving] * root).reshape(2 * len(length), count)
        b = (by_pose * root).reshape(-1, 6)
        r = (residuals[..., None] * root).ravel()
        full += a.T @ a
        gradient += a.T @ r
        by_view.append((b.T @ b, b.T @ a, b.T @ r))
    return _Normal(cost, full, gradient, tuple(by_view))


def _step(system: _Normal, damping: float) -> tuple[Floats, Floats]:
    """Damped steps of the parameters and of the poses (V, 6), the poses eliminated first."""
    count = len(system.gradient)
    reduced = system.params + damping * np.diag(np.diag(system.params))
    gradient, back = system.gradient.copy(), []
    for own, across, pose_gradient in system.poses:
        damped = own + damping * np.diag(np.diag(own)) + 1e-12 * np.eye(6)
        solved = np.linalg.solve(damped, np.column_stack([across, pose_gradient]))
        reduced -= across.T @ solved[:, :count]
        gradient -= across.T @ solved[:, count]
        back.append(solved)
    scale = 1 / np.sqrt(np.maximum(np.diag(reduced), 1e-30))
    # Parameters that the views do not tell apart stay where they are, by the shortest solution.
    scaled = np.linalg.lstsq(reduced * np.outer(scale, scale), scale * gradient, rcond=1e-13)[0] if count else scale
    step = -scale * scaled
    return step, np.array([-(solved[:, count] + solved[:, :count] @ step) for solved in back])


def covariance(found: Fit, views: Sequence[View]) -> Floats:
    """Covariance (P, P) of the parameters, the poses left free.

    Corners of one view share what blurs, bends or shifts it, so that their residuals are no independent draws. The
    spread of what whole views ask for is therefore weighed against the spread of single corners, and each parameter
    gets the larger standard deviation of both; correlations are those of single corners.
    """
    count = len(found.params)
    information, by_view = np.zeros((count, count)), []
    for pose, view, residuals in zip(found.poses, views, found.residuals, strict=True):
        _, by_pose, by_params = project(found.model, found.params, pose, view.points)
        a, b = by_params.reshape(-1, count), by_pose.reshape(-1, 6)
        # What the pose cannot take up.
        reduced = a - b @ np.linalg.lstsq(b, a, rcond=None)[0]
        information += reduced.T @ reduced
        by_view.append(reduced.T @ residuals.ravel())
    squares = sum(float((r**2).sum()) for r in found.residuals)
    freedom = 2 * sum(len(r) for r in found.residuals) - count - 6 * len(views)
    scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-30))
    inverse = np.linalg.pinv(information * np.outer(scale, scale), rcond=1e-15, hermitian=True) * np.outer(scale, scale)
    plain = inverse * squares / max(freedom, 1)
    pulls = np.array(by_view) @ inverse
    # The fit has taken up a part of what views ask for, the larger the fewer they are.
    clustered = (pulls**2).sum(0) * len(views) / max(len(views) - count, len(views) / 4)
    larger = np.sqrt(np.maximum(clustered / np.maximum(np.diag(plain), 1e-300), 1.0))
    return np.asarray(plain * np.outer(larger, larger), np.float64)
