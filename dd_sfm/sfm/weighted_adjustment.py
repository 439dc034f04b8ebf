"""Bundle adjustment of poses and points to observations that have covariances of their own.

COLMAP's adjustment counts every observation alike, and alike in every direction.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import stack_poses
from dd_sfm.ops.banded import BandedFactor
from dd_sfm.runtime import one_blas_thread
from dd_sfm.sfm.adjustment_loops import cost_loop, mark_pairs, move_loop, reduce_loop
from dd_sfm.sfm.pose_priors import FramePriors, PosePriors
from dd_sfm.structures import FloatArray, Model

logger = logging.getLogger(__name__)

PARTS = 4
"""Points are shared out in so many parts, whatever the number of threads: sums then never depend on it."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-4, 1e-9, 1e4
GAUGE = 1e-9
"""Share that is always added to the diagonal: the scale of the whole is not observed."""


@dataclass(frozen=True)
class _State:
    """What is adjusted: poses (F, 3, 4) cam_from_world and points (P, 3)."""

    poses: FloatArray
    xyz: FloatArray


def adjust_weighted(
    model: Model,
    information: FloatArray,
    *,
    loss_px: float,
    threads: int,
    tolerance: float,
    most_steps: int = 50,
    priors: PosePriors | None = None,
) -> Model:
    """Refine poses and points together by Levenberg and Marquardt's method; the camera stays as it is.

    Args:
        model: What to refine; give it a well-spread subset when it is large.
        information: Inverse covariances xx, xy and yy (O, 3) of the observations, relative to each other.
        loss_px: Residual of an observation of information 1 at which the Cauchy loss turns it down.
        threads: CPU threads.
        tolerance: Relative change of the cost at which it ends.
        most_steps: Most steps, those that fail counted.
        priors: Measured poses, in the world of the model, which count as further observations.

    Returns:
        The model with new poses and points.
    """
    frames = sorted(model.cam_from_world)
    poses = stack_poses(model.cam_from_world)[frames]
    with ThreadPoolExecutor(min(threads, PARTS)) as pool, one_blas_thread():
        known = None if priors is None or priors.are_exact else priors.of(frames)
        problem = _Problem(model, information, np.searchsorted(frames, model.frame), len(frames), loss_px, pool, known)
        state = problem.adjust(_State(poses, model.xyz.astype(np.float64)), tolerance, most_steps)
    return replace(model, cam_from_world=dict(zip(frames, state.poses, strict=True)), xyz=state.xyz)


class _Problem:
    """The observations, and the equations that they make."""

    def __init__(
        self,
        model: Model,
        information: FloatArray,
        frame: NDArray[np.int64],
        frames: int,
        loss_px: float,
        pool: ThreadPoolExecutor,
        priors: FramePriors | None = None,
    ) -> None:
        points = len(model.xyz)
        self._priors = priors
        self._starts = np.searchsorted(model.point, np.arange(points + 1)).astype(np.int64)
        self._frame = frame.astype(np.int64)
        camera = model.camera
        self._lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
        self._observed = self._starts, self._frame, model.xy.astype(np.float64), np.ascontiguousarray(information)
        self._loss_px, self._pool = float(loss_px), pool
        # Parts of as many observations each.
        ends = np.searchsorted(self._starts, np.linspace(0, len(frame), PARTS + 1)[1:-1])
        self._bounds = list(pairwise([0, *ends.tolist(), points]))
        seen = np.eye(frames, dtype=bool)
        mark_pairs(self._starts, self._frame, seen)
        self._pairs = np.argwhere(seen)
        self._block = np.full(seen.shape, -1, np.int32)
        self._block[seen] = np.arange(len(self._pairs))
        # The frame in the middle holds place and rotation of the whole; frames without observations stay as well.
        self._held = np.bincount(self._frame, minlength=frames) == 0
        observing = np.flatnonzero(~self._held)
        if priors is None or not len(priors.rows):
            self._held[observing[len(observing) // 2 :][:1]] = True

    def adjust(self, state: _State, tolerance: float, most_steps: int) -> _State:
        """See :func:`adjust_weighted`."""
        first = cost = self._cost(state)
        damping, steps = FIRST_DAMPING, 0
        while steps < most_steps and damping < MOST_DAMPING:
            steps += 1
            tried = self._step(state, damping)
            cost_then = np.inf if tried is None else self._cost(tried)
            if tried is None or not cost_then < cost:
                damping *= 8
                continue
            gained, state, cost = (cost - cost_then) / cost, tried, cost_then
            if gained < tolerance:
                break
            damping = max(damping / 5, LEAST_DAMPING)
        logger.info("adjust: cost %.4g to %.4g in %d steps", first, cost, steps)
        return state

    def _cost(self, state: _State) -> float:
        seen = float(sum(self._parts(lambda a, b, _: cost_loop(a, b, *self._observed, *self._at(state)))))
        return seen if self._priors is None else seen + self._priors.cost(state.poses)

    def _at(self, state: _State) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        return state.poses, state.xyz, self._lens, self._loss_px

    def _parts(self, work: Callable[[int, int, int], Any]) -> list[Any]:
        """What ``work(first, last, part)`` returns for each part of the points."""
        return list(self._pool.map(lambda n: work(*self._bounds[n], n), range(PARTS)))

    def _step(self, state: _State, damping: float) -> _State | None:
        """The state after a step; None where the equations cannot be solved."""
        points, frames = len(state.xyz), len(state.poses)
        coupling, inverse = np.empty((len(self._frame), 6, 3)), np.empty((points, 3, 3))
        point_right = np.empty((points, 3))
        squares = [np.zeros((len(self._pairs), 6, 6)) for _ in range(PARTS)]
        rights = [np.zeros((frames, 6)) for _ in range(PARTS)]
        of_points = coupling, inverse, point_right
        self._parts(
            lambda a, b, n: reduce_loop(
                a, b, *self._observed, *self._at(state), damping, self._block, squares[n], rights[n], *of_points
            )
        )
        whole, sides = _taken_sum(squares), _taken_sum(rights)
        if self._priors is not None:
            blocks, own = self._priors.equations(state.poses)
            rows = self._priors.rows
            whole[self._block[rows, rows]] += blocks
            sides[rows] += own
        change = self._solve(whole, sides)
        if change is None:
            return None
        moved = state.xyz.copy()
        self._parts(lambda a, b, _: move_loop(a, b, self._starts, self._frame, *of_points, change, moved))
        poses = Rotation.from_rotvec(change[:, :3]).as_matrix() @ state.poses
        poses[:, :, 3] += change[:, 3:]
        return _State(poses, moved)

    def _solve(self, square: FloatArray, right: FloatArray) -> FloatArray | None:
        """The change of the poses (F, 6) by blocks (B, 6, 6) of the upper half and the right side (F, 6)."""
        row, column = self._pairs.T
        own = row == column
        held = self._held.copy()
        # A frame that sees nothing in front of it has no equations.
        held[row[own]] |= ~square[own].any((1, 2))
        square[own] *= 1 + GAUGE * np.eye(6)
        square[held[row] | held[column]] = 0
        square[own & held[row]] = np.eye(6)
        right[held] = 0
        try:
            change = -BandedFactor.of(square, row, column).solve(right[:, :, None])[:, :, 0]
        except LinAlgError:
            return None
        return change if np.isfinite(change).all() else None


def _taken_sum(parts: list[FloatArray]) -> FloatArray:
    """The sum of arrays, which are taken out of the list: on long paths they are the most that is in memory."""
    total = parts.pop(0)
    while parts:
        total += parts.pop(0)
    return total
