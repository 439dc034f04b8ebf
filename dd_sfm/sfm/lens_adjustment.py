"""Poses, points and a lens adjusted together, with what was known of the lens, and what each point says of it.

COLMAP's adjustment takes no prior for a camera's parameters, and its covariance supposes that residuals have nothing to
do with one another. Those of dense tracks do: tracks slide alike over parts of a frame. Here the influence of every
point on the lens is found, which can be summed over any part of the tracks before it is squared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.transform import Rotation

from dd_sfm.runtime import one_blas_thread
from dd_sfm.sfm.eucm import BETA, PARAMETERS, project
from dd_sfm.structures import FloatArray, IntArray

Prior = Callable[[FloatArray], FloatArray]
"""What was known of a lens (5,): residuals (K,) that are standard normal if the lens is as expected."""
PRIOR_STEPS = np.array([1e-4, 1e-4, 1e-4, 1e-2, 1e-2])
"""Steps of a lens by which the slope of a prior is found."""
STILL = np.array([5e-4, 2e-3, 5e-3, 0.2, 0.2])
"""A step that changes the lens by less than this is the last one."""
LEAST_DEPTH = 1e-6
BEHIND_PX = 1e3
"""Residual of a point behind its camera."""


@dataclass(frozen=True)
class LensState:
    """What is adjusted: a lens (5,), poses (F, 3, 4) cam_from_world, and points (P, 3)."""

    lens: FloatArray
    poses: FloatArray
    xyz: FloatArray


@dataclass(frozen=True)
class LensObservations:
    """Observations sorted by point, every point with one at least.

    ``point`` (O,) row of the points, ``frame`` (O,) row of the poses, ``xy`` (O, 2) pixels with centres at integers.
    """

    point: IntArray
    frame: IntArray
    xy: FloatArray


@dataclass(frozen=True)
class AdjustedLens:
    """Where the adjustment ended.

    ``errors_px`` (O,): reprojection errors; ``information`` (5, 5): that of the observations about the lens, with poses
    and points eliminated; ``scores`` (P, 5): the slope of the cost of each point's observations by the lens, likewise.
    """

    state: LensState
    errors_px: FloatArray
    information: FloatArray
    scores: FloatArray


def adjust_lens(
    start: LensState, seen: LensObservations, prior: Prior, *, noise_px: float, loss_px: float, steps: int = 20
) -> AdjustedLens:
    """Adjust a lens, poses and points to observations by Levenberg and Marquardt's method.

    Args:
        start: Where to begin; the first pose holds the whole in place.
        seen: The observations.
        prior: What was known of the lens.
        noise_px: Standard deviation of an observation, by which they weigh against the prior.
        loss_px: Residual at which the Cauchy loss turns down an observation.
        steps: Most steps.
    """
    # Threads of BLAS gain nothing with matrices of this size, and wait for each other where other work runs.
    with one_blas_thread():
        return _Problem(seen, prior, noise_px, loss_px).adjust(start, steps)


@dataclass(frozen=True)
class _Equations:
    """Normal equations for poses and lens (N unknowns) with the points eliminated.

    ``square`` (N, N), ``right`` (N,); ``half`` (P, 3, N) and ``half_right`` (P, 3): what couples the points to them,
    times ``inverse`` (P, 3, 3) of the points' own triangular factor; ``scores`` (P, N).
    """

    square: FloatArray
    right: FloatArray
    half: FloatArray
    half_right: FloatArray
    inverse: FloatArray
    scores: FloatArray

    def step(self, state: LensState) -> LensState:
        """The state after the step that solves the equations."""
        held = self.square.copy()
        held[:6] = held[:, :6] = 0
        held[:6, :6] = np.eye(6)
        # The scale of the whole is not observed: a trace of damping keeps it.
        held[np.diag_indices(len(held))] *= 1 + 1e-9
        right = np.concatenate([np.zeros(6), self.right[6:]])
        change = -cho_solve(cho_factor(held, check_finite=False), right, check_finite=False)
        moves = self.inverse.transpose(0, 2, 1) @ (self.half_right + self.half @ change)[:, :, None]
        by_frame = change[:-PARAMETERS].reshape(-1, 6)
        poses = Rotation.from_rotvec(by_frame[:, :3]).as_matrix() @ state.poses
        poses[:, :, 3] += by_frame[:, 3:]
        return LensState(state.lens + change[-PARAMETERS:], poses, state.xyz - moves[:, :, 0])


@dataclass(frozen=True)
class _Linear:
    """Residuals and their slopes, weighted by noise and loss."""

    residual: FloatArray
    by_xyz: FloatArray
    by_pose: FloatArray
    by_lens: FloatArray


@dataclass(frozen=True)
class _Problem:
    seen: LensObservations
    prior: Prior
    noise_px: float
    loss_px: float

    def in_cameras(self, state: LensState) -> tuple[FloatArray, FloatArray]:
        """Observed points in their cameras (O, 3), and which (O,) lie in front; the others are put there."""
        poses = state.poses[self.seen.frame]
        cam = np.einsum("nij,nj->ni", poses[:, :, :3], state.xyz[self.seen.point]) + poses[:, :, 3]
        front = cam[:, 2] > LEAST_DEPTH
        return np.where(front[:, None], cam, np.array([0.0, 0.0, 1.0])), front

    def errors_px(self, state: LensState) -> FloatArray:
        """Reprojection errors (O,)."""
        cam, front = self.in_cameras(state)
        error = np.linalg.norm(project(state.lens, cam)[0] - self.seen.xy, axis=1)
        return np.asarray(np.where(front, error, BEHIND_PX))

    def cost(self, state: LensState) -> float:
        """Twice the negative logarithm of the posterior."""
        if state.lens[BETA] <= 0 or not np.isfinite(state.xyz).all():
            return np.inf
        squared = (self.errors_px(state) / self.loss_px) ** 2
        known = self.prior(state.lens)
        return float(np.log1p(squared).sum() * (self.loss_px / self.noise_px) ** 2 + known @ known)

    def linearise(self, state: LensState) -> _Linear:
        """Residuals (O, 2), and slopes by the points (O, 2, 3), the poses (O, 2, 6) and the lens (O, 2, 5)."""
        cam, front = self.in_cameras(state)
        xy, by_point, by_lens = project(state.lens, cam)
        residual = xy - self.seen.xy
        weight = front / (1 + (residual**2).sum(1) / self.loss_px**2)
        root = np.sqrt(weight)[:, None] / self.noise_px
        by_pose = np.concatenate([np.cross(cam[:, None, :], by_point), by_point], -1)
        by_xyz = by_point @ state.poses[self.seen.frame, :, :3]
        return _Linear(residual * root, *(slope * root[..., None] for slope in (by_xyz, by_pose, by_lens)))

    def equations(self, state: LensState, damping: float, *, with_prior: bool = True) -> _Equations:
        """The normal equations at a state."""
        at, point, frame = self.linearise(state), self.seen.point, self.seen.frame
        points, frames = len(state.xyz), len(state.poses)
        starts, size = np.searchsorted(point, np.arange(points)), 6 * frames + PARAMETERS
        transposed = at.by_xyz.transpose(0, 2, 1)
        own = np.add.reduceat(transposed @ at.by_xyz, starts)
        size_of_own = np.trace(own, axis1=1, axis2=2)
        # A point that lies behind all its cameras has no weight and stays where it is.
        least = 1e-12 * np.maximum(size_of_own, np.median(size_of_own))
        own += (damping * own + least[:, None, None]) * np.eye(3)
        own_right = np.add.reduceat((transposed @ at.residual[:, :, None])[:, :, 0], starts)
        coupling, scores = np.zeros((points, 3, size)), np.zeros((points, size))
        coupling[:, :, : 6 * frames].reshape(points, 3, frames, 6)[point, :, frame] = transposed @ at.by_pose
        coupling[:, :, 6 * frames :] = np.add.reduceat(transposed @ at.by_lens, starts)
        of_pose = np.einsum("nij,ni->nj", at.by_pose, at.residual)
        scores[:, : 6 * frames].reshape(points, frames, 6)[point, frame] = of_pose
        scores[:, 6 * frames :] = np.add.reduceat(np.einsum("nij,ni->nj", at.by_lens, at.residual), starts)
        square = _without_points(at, frame, frames)
        square[np.diag_indices(size)] *= 1 + damping
        right = scores.sum(0)
        if with_prior:
            known, slope = self.prior(state.lens), prior_slopes(self.prior, state.lens)
            square[-PARAMETERS:, -PARAMETERS:] += slope.T @ slope
            right[-PARAMETERS:] += slope.T @ known
        inverse = np.linalg.inv(np.linalg.cholesky(own))
        half = inverse @ coupling
        half_right = (inverse @ own_right[:, :, None])[:, :, 0]
        flat = half.reshape(-1, size)
        square -= flat.T @ flat
        # A point's own slopes are nearly zero at the end of an adjustment, yet not before.
        scores -= np.einsum("pik,pi->pk", half, half_right)
        right -= flat.T @ half_right.ravel()
        return _Equations(square, right, half, half_right, inverse, scores)

    def adjust(self, state: LensState, steps: int) -> AdjustedLens:
        """See :func:`adjust_lens`."""
        cost, damping = self.cost(state), 1e-4
        for _ in range(steps):
            tried = self.equations(state, damping).step(state)
            cost_then = self.cost(tried)
            if not cost_then < cost:
                damping *= 8
                continue
            moved, state, cost = np.abs(tried.lens - state.lens), tried, cost_then
            if (moved < STILL).all() and damping < 1e-2:
                break
            damping = max(damping / 5, 1e-9)
        return self.result(state)

    def result(self, state: LensState) -> AdjustedLens:
        """What the observations alone say of the lens at a state."""
        found = self.equations(state, 0.0, with_prior=False)
        poses, lens = slice(6, -PARAMETERS), slice(-PARAMETERS, None)
        own = found.square[poses, poses].copy()
        own[np.diag_indices(len(own))] *= 1 + 1e-9
        eliminate = np.linalg.solve(own, found.square[poses, lens])
        information = found.square[lens, lens] - found.square[lens, poses] @ eliminate
        scores = found.scores[:, lens] - found.scores[:, poses] @ eliminate
        return AdjustedLens(state, self.errors_px(state), information, scores)


def _without_points(at: _Linear, frame: IntArray, frames: int) -> FloatArray:
    """Normal equations (N, N) of poses and lens for points that stay where they are."""
    size = 6 * frames + PARAMETERS
    square, lens = np.zeros((size, size)), slice(6 * frames, size)
    for number in range(frames):
        rows, place = frame == number, slice(6 * number, 6 * number + 6)
        of_pose, of_lens = at.by_pose[rows].reshape(-1, 6), at.by_lens[rows].reshape(-1, PARAMETERS)
        square[place, place] = of_pose.T @ of_pose + 1e-12 * np.eye(6)
        square[place, lens] = of_pose.T @ of_lens
        square[lens, place] = square[place, lens].T
    of_lens = at.by_lens.reshape(-1, PARAMETERS)
    square[lens, lens] = of_lens.T @ of_lens
    return square


def prior_slopes(prior: Prior, lens: FloatArray) -> FloatArray:
    """How the residuals of a prior change with the lens (K, 5)."""
    moves = np.diag(PRIOR_STEPS)
    columns = [(prior(lens + move) - prior(lens - move)) / (2 * move.sum()) for move in moves]
    return np.stack(columns, -1)
