"""Compiled loops over points of a bundle adjustment whose observations have covariances of their own.

Observations are flat arrays sorted by point; ``starts`` (P + 1,) holds where each point begins, and the end. A loop
does the points from ``first`` to before ``last``. What a pose changes by (6,) is a rotation vector and a shift in the
axes of its camera.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import BoolArray, Float64Array, Int64Array, compiled_for_workers, compiled_part

LEAST_DEPTH = 1e-9
BEHIND_COST = 1e3
"""Cost of an observation whose point lies behind the camera."""
TRACE = 1e-9
"""Share of its trace that is added to a point's own equations: of one that is seen along one ray."""


@compiled_part
def _residual(
    point: Float64Array, pose: Float64Array, lens: Float64Array, xy: Float64Array, cam: Float64Array
) -> tuple[Any, Any]:
    """Residual in pixels along x and y; ``cam`` gets the point in the camera. Both are 0 where it lies behind."""
    for k in range(3):
        cam[k] = pose[k, 0] * point[0] + pose[k, 1] * point[1] + pose[k, 2] * point[2] + pose[k, 3]
    if cam[2] < LEAST_DEPTH:
        return 0.0, 0.0
    return lens[0] * cam[0] / cam[2] + lens[2] - xy[0], lens[1] * cam[1] / cam[2] + lens[3] - xy[1]


@compiled_part
def _slopes(cam: Float64Array, pose: Float64Array, lens: Float64Array, of_pose: Any, of_point: Any) -> None:
    """Write the slopes of a residual by the pose's rotation and shift (2, 6) and by the point (2, 3)."""
    x, y, z = cam[0], cam[1], cam[2]
    for k in range(2):
        # By the point in the camera: one entry of the two across, and one along the axis.
        a = lens[0] / z if k == 0 else 0.0
        b = lens[1] / z if k == 1 else 0.0
        c = -(a * x + b * y) / z
        of_pose[k, 0], of_pose[k, 1], of_pose[k, 2] = y * c - z * b, z * a - x * c, x * b - y * a
        of_pose[k, 3], of_pose[k, 4], of_pose[k, 5] = a, b, c
        for m in range(3):
            of_point[k, m] = a * pose[0, m] + b * pose[1, m] + c * pose[2, m]


@compiled_for_workers
def cost_loop(
    first: Any,
    last: Any,
    starts: Int64Array,
    frame: Int64Array,
    xy: Float64Array,
    information: Float64Array,
    poses: Float64Array,
    xyz: Float64Array,
    lens: Float64Array,
    loss_px: float,
) -> float:
    """Sum of the observations' Cauchy losses; arguments as :func:`reduce_loop` has them."""
    cam, most, total = np.empty(3), loss_px * loss_px, 0.0
    for n in range(first, last):
        for o in range(starts[n], starts[n + 1]):
            ex, ey = _residual(xyz[n], poses[frame[o]], lens, xy[o], cam)
            if cam[2] < LEAST_DEPTH:
                total += BEHIND_COST
                continue
            xx, both, yy = information[o, 0], information[o, 1], information[o, 2]
            total += most * np.log1p((xx * ex * ex + 2 * both * ex * ey + yy * ey * ey) / most)
    return total


@compiled_for_workers
def reduce_loop(
    first: Any,
    last: Any,
    starts: Int64Array,
    frame: Int64Array,
    xy: Float64Array,
    information: Float64Array,
    poses: Float64Array,
    xyz: Float64Array,
    lens: Float64Array,
    loss_px: float,
    damping: float,
    block: NDArray[np.int32],
    square: Float64Array,
    right: Float64Array,
    coupling: Float64Array,
    inverse: Float64Array,
    point_right: Float64Array,
) -> None:
    """Make the normal equations of the poses with the points eliminated (the Schur complement).

    Args:
        first: The first point.
        last: One past the last point.
        starts: Where each point's observations begin (P + 1,).
        frame: Row of the poses (O,).
        xy: Pixels (O, 2).
        information: Inverse covariances xx, xy, yy (O, 3).
        poses: cam_from_world (F, 3, 4).
        xyz: Points (P, 3).
        lens: fx, fy, cx, cy.
        loss_px: Residual at which the Cauchy loss turns down an observation.
        damping: Share that is added to the diagonals.
        block: Number of the block of two frames (F, F), the lower one first.
        square: Blocks (B, 6, 6), to which is added.
        right: Right side (F, 6), to which is added.
        coupling: Gets what couples each observation's pose to its point (O, 6, 3).
        inverse: Gets the inverses of the points' own equations (P, 3, 3).
        point_right: Gets their right sides (P, 3).
    """
    cam, of_pose, of_point = np.empty(3), np.empty((2, 6)), np.empty((2, 3))
    weighted, own, half = np.empty((2, 6)), np.empty((3, 3)), np.empty((6, 3))
    for n in range(first, last):
        own[:] = 0.0
        point_right[n] = 0.0
        for o in range(starts[n], starts[n + 1]):
            ex, ey = _residual(xyz[n], poses[frame[o]], lens, xy[o], cam)
            coupling[o] = 0.0
            if cam[2] < LEAST_DEPTH:
                continue
            _slopes(cam, poses[frame[o]], lens, of_pose, of_point)
            _add_observation(
                ex, ey, information[o], loss_px, damping, of_pose, of_point, weighted, own, point_right[n], coupling[o],
                square[block[frame[o], frame[o]]], right[frame[o]],
            )  # fmt: skip
        _invert(own, damping, inverse[n])
        _eliminate(starts[n], starts[n + 1], frame, inverse[n], point_right[n], coupling, half, block, square, right)


@compiled_part
def _add_observation(
    ex: float,
    ey: float,
    information: Float64Array,
    loss_px: float,
    damping: float,
    of_pose: Float64Array,
    of_point: Float64Array,
    weighted: Float64Array,
    own: Float64Array,
    point_right: Float64Array,
    coupling: Float64Array,
    square: Float64Array,
    right: Float64Array,
) -> None:
    """Add an observation to the equations of its point and of its pose."""
    xx, both, yy = information[0], information[1], information[2]
    weight = 1 / (1 + (xx * ex * ex + 2 * both * ex * ey + yy * ey * ey) / (loss_px * loss_px))
    xx, both, yy = weight * xx, weight * both, weight * yy
    for k in range(6):
        weighted[0, k] = xx * of_pose[0, k] + both * of_pose[1, k]
        weighted[1, k] = both * of_pose[0, k] + yy * of_pose[1, k]
    for k in range(6):
        right[k] += weighted[0, k] * ex + weighted[1, k] * ey
        for m in range(6):
            square[k, m] += weighted[0, k] * of_pose[0, m] + weighted[1, k] * of_pose[1, m]
        square[k, k] += damping * (weighted[0, k] * of_pose[0, k] + weighted[1, k] * of_pose[1, k])
        for m in range(3):
            coupling[k, m] = weighted[0, k] * of_point[0, m] + weighted[1, k] * of_point[1, m]
    for k in range(3):
        across, down = xx * of_point[0, k] + both * of_point[1, k], both * of_point[0, k] + yy * of_point[1, k]
        point_right[k] += across * ex + down * ey
        for m in range(3):
            own[k, m] += across * of_point[0, m] + down * of_point[1, m]


@compiled_part
def _invert(own: Float64Array, damping: float, inverse: Float64Array) -> None:
    """Write the inverse of a point's own equations, damped."""
    trace = TRACE * (own[0, 0] + own[1, 1] + own[2, 2]) + 1e-12
    a, d, f = own[0, 0] * (1 + damping) + trace, own[1, 1] * (1 + damping) + trace, own[2, 2] * (1 + damping) + trace
    b, c, e = own[0, 1], own[0, 2], own[1, 2]
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    scale = 1 / (a * first + b * second + c * third)
    inverse[0, 0], inverse[0, 1], inverse[0, 2] = first * scale, second * scale, third * scale
    inverse[1, 0], inverse[1, 1], inverse[1, 2] = second * scale, (a * f - c * c) * scale, (b * c - a * e) * scale
    inverse[2, 0], inverse[2, 1], inverse[2, 2] = third * scale, (b * c - a * e) * scale, (a * d - b * b) * scale


@compiled_part
def _eliminate(
    start: Any,
    end: Any,
    frame: Int64Array,
    inverse: Float64Array,
    point_right: Float64Array,
    coupling: Float64Array,
    half: Float64Array,
    block: NDArray[np.int32],
    square: Float64Array,
    right: Float64Array,
) -> None:
    """Take out of the equations of the poses what a point can take up."""
    for o in range(start, end):
        for k in range(6):
            for m in range(3):
                half[k, m] = (
                    coupling[o, k, 0] * inverse[0, m]
                    + coupling[o, k, 1] * inverse[1, m]
                    + coupling[o, k, 2] * inverse[2, m]
                )
            right[frame[o], k] -= (
                half[k, 0] * point_right[0] + half[k, 1] * point_right[1] + half[k, 2] * point_right[2]
            )
        for other in range(start, end):
            if frame[other] < frame[o]:
                continue
            into = square[block[frame[o], frame[other]]]
            for k in range(6):
                for m in range(6):
                    into[k, m] -= (
                        half[k, 0] * coupling[other, m, 0]
                        + half[k, 1] * coupling[other, m, 1]
                        + half[k, 2] * coupling[other, m, 2]
                    )


@compiled_for_workers
def move_loop(
    first: Any,
    last: Any,
    starts: Int64Array,
    frame: Int64Array,
    coupling: Float64Array,
    inverse: Float64Array,
    point_right: Float64Array,
    change: Float64Array,
    moved: Float64Array,
) -> None:
    """Move points (P, 3) by what the change of the poses (F, 6) leaves of their own equations."""
    left = np.empty(3)
    for n in range(first, last):
        for m in range(3):
            left[m] = point_right[n, m]
        for o in range(starts[n], starts[n + 1]):
            for m in range(3):
                for k in range(6):
                    left[m] += coupling[o, k, m] * change[frame[o], k]
        for k in range(3):
            moved[n, k] -= inverse[n, k, 0] * left[0] + inverse[n, k, 1] * left[1] + inverse[n, k, 2] * left[2]


@compiled_for_workers
def mark_pairs(starts: Int64Array, frame: Int64Array, seen: BoolArray) -> None:
    """Mark which frames (F, F) see a point together, the lower one first."""
    for n in range(len(starts) - 1):
        for o in range(starts[n], starts[n + 1]):
            for other in range(starts[n], starts[n + 1]):
                if frame[other] >= frame[o]:
                    seen[frame[o], frame[other]] = True
