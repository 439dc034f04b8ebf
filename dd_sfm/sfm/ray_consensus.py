"""Robust points of many tracks at once: compiled loops over tracks, each track for itself.

Observations are flat arrays sorted by track; ``starts`` (T + 1,) holds where each track begins, and the end.
"""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import Float64Array, Int64Array, compiled_for_workers, compiled_part

BEHIND = 1e30
"""Squared error of a point behind the camera: infinity would not survive the compiler's fast arithmetic."""
HYPOTHESES = 12
"""Two-view points tried for each point that is kept or dropped."""
UNUSED = -1
"""Of observations that belong to no point."""
SMALL_STEP = 1e-6
"""A refinement ends early when it moves its point by less than this share of the distance."""
BOUNDS = (1.5, 1.0, 1.0)
"""Factors on the largest error of an observation, one after the other, with the point refined after each."""


@compiled_part
def _squared_error(
    point: Float64Array, pose: Float64Array, x: float, y: float, focal_x: float, focal_y: float
) -> float:
    """Squared distance in pixels between an observation, given at depth 1, and a point's projection."""
    depth = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3]
    if depth <= 1e-9:
        return BEHIND
    across = (pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]) / depth - x
    down = (pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]) / depth - y
    return float((across * focal_x) ** 2 + (down * focal_y) ** 2)


@compiled_part
def _ray(pose: Float64Array, x: float, y: float, centre: Float64Array, direction: Float64Array) -> None:
    """Write the camera's centre and the unit direction of an observation."""
    length = np.sqrt(x * x + y * y + 1.0)
    for k in range(3):
        centre[k] = -(pose[0, k] * pose[0, 3] + pose[1, k] * pose[1, 3] + pose[2, k] * pose[2, 3])
        direction[k] = (pose[0, k] * x + pose[1, k] * y + pose[2, k]) / length


@compiled_part
def _midpoint(
    centre0: Float64Array, direction0: Float64Array, centre1: Float64Array, direction1: Float64Array, out: Float64Array
) -> None:
    """Write the point halfway between two rays; for parallel rays, far away along the first."""
    cosine = along0 = along1 = 0.0
    for k in range(3):
        between = centre1[k] - centre0[k]
        cosine += direction0[k] * direction1[k]
        along0 += between * direction0[k]
        along1 += between * direction1[k]
    denominator = max(1.0 - cosine * cosine, 1e-12)
    depth0 = (along0 - cosine * along1) / denominator
    depth1 = (cosine * along0 - along1) / denominator
    for k in range(3):
        out[k] = (centre0[k] + depth0 * direction0[k] + centre1[k] + depth1 * direction1[k]) / 2


@compiled_part
def _consensus(
    rows: Int64Array,
    frame: Int64Array,
    normalised: Float64Array,
    poses: Float64Array,
    focal: Float64Array,
    threshold_px: float,
    hypotheses: int,
    seed: int,
    point: Float64Array,
) -> None:
    """Write the best of several two-view points.

    Each is the midpoint of two of the rays; the one with the lowest truncated squared error (MSAC, Torr and
    Zisserman, CVIU 2000) over all observations wins.
    """
    count, most = len(rows), threshold_px * threshold_px
    work = np.empty((5, 3))
    best, draw = 1e300, seed
    for number in range(hypotheses):
        first, second = 0, count - 1
        if number > 0:
            # Numbers drawn for every track by itself do not depend on the other tracks, nor on threads.
            draw = (draw * 1103515245 + 12345) & 0x7FFFFFFF
            first = (draw >> 8) % count
            draw = (draw * 1103515245 + 12345) & 0x7FFFFFFF
            second = (first + 1 + (draw >> 8) % max(count - 1, 1)) % count
        a, b = rows[first], rows[second]
        _ray(poses[frame[a]], normalised[a, 0], normalised[a, 1], work[0], work[1])
        _ray(poses[frame[b]], normalised[b, 0], normalised[b, 1], work[2], work[3])
        _midpoint(work[0], work[1], work[2], work[3], work[4])
        cost = 0.0
        for row in rows:
            pose = poses[frame[row]]
            error = _squared_error(work[4], pose, normalised[row, 0], normalised[row, 1], focal[0], focal[1])
            cost += min(error, most)
            if cost >= best:
                break
        if cost < best:
            best = cost
            for k in range(3):
                point[k] = work[4, k]


@compiled_part
def _refine(
    rows: Int64Array,
    frame: Int64Array,
    normalised: Float64Array,
    poses: Float64Array,
    focal: Float64Array,
    scale_px: float,
    iterations: int,
    point: Float64Array,
) -> None:
    """Move a point to where the robust reprojection error of its observations is least.

    Gauss-Newton with Cauchy weights 1 / (1 + (e / scale)^2) and a little damping.
    """
    for _ in range(iterations):
        xx = xy = xz = yy = yz = zz = gx = gy = gz = distance = 0.0
        for row in rows:
            pose = poses[frame[row]]
            depth = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3]
            if abs(depth) < 1e-9:
                depth = 1e-9
            px = (pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]) / depth
            py = (pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]) / depth
            ex, ey = (px - normalised[row, 0]) * focal[0], (py - normalised[row, 1]) * focal[1]
            weight = 1.0 / (1.0 + (ex * ex + ey * ey) / (scale_px * scale_px))
            sx, sy = focal[0] / depth, focal[1] / depth
            ax, bx = (pose[0, 0] - px * pose[2, 0]) * sx, (pose[1, 0] - py * pose[2, 0]) * sy
            ay, by = (pose[0, 1] - px * pose[2, 1]) * sx, (pose[1, 1] - py * pose[2, 1]) * sy
            az, bz = (pose[0, 2] - px * pose[2, 2]) * sx, (pose[1, 2] - py * pose[2, 2]) * sy
            xx += weight * (ax * ax + bx * bx)
            xy += weight * (ax * ay + bx * by)
            xz += weight * (ax * az + bx * bz)
            yy += weight * (ay * ay + by * by)
            yz += weight * (ay * az + by * bz)
            zz += weight * (az * az + bz * bz)
            gx += weight * (ax * ex + bx * ey)
            gy += weight * (ay * ex + by * ey)
            gz += weight * (az * ex + bz * ey)
            distance = max(distance, abs(depth))
        dx, dy, dz = _solve(xx, xy, xz, yy, yz, zz, gx, gy, gz)
        point[0] -= dx
        point[1] -= dy
        point[2] -= dz
        if abs(dx) + abs(dy) + abs(dz) < SMALL_STEP * distance:
            break


@compiled_part
def _solve(
    xx: float, xy: float, xz: float, yy: float, yz: float, zz: float, gx: float, gy: float, gz: float
) -> tuple[float, float, float]:
    """The solution of a symmetric system of three equations by Cramer's rule, a little damped; 0 if it has none."""
    damping = 1e-6 * (xx + yy + zz) + 1e-12
    xx, yy, zz = xx + damping, yy + damping, zz + damping
    c0, c1, c2 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d1, d2 = xx * zz - xz * xz, xy * xz - xx * yz
    determinant = xx * c0 + xy * c1 + xz * c2
    if determinant <= 0.0:
        return 0.0, 0.0, 0.0
    return (
        (c0 * gx + c1 * gy + c2 * gz) / determinant,
        (c1 * gx + d1 * gy + d2 * gz) / determinant,
        (c2 * gx + d2 * gy + (xx * yy - xy * xy) * gz) / determinant,
    )


@compiled_part
def _smallest_cosine(rows: Int64Array, frame: Int64Array, centres: Float64Array, point: Float64Array) -> float:
    """Cosine of the (nearly) widest angle between two rays: the furthest from the first, then that from this one."""
    pivot, away = np.empty(3), np.empty(3)
    furthest, smallest = rows[0], 1.0
    for _ in range(2):
        length = 0.0
        for k in range(3):
            pivot[k] = point[k] - centres[frame[furthest], k]
            length += pivot[k] * pivot[k]
        inverse = 1.0 / max(np.sqrt(length), 1e-12)
        smallest = 2.0
        for row in rows:
            length = product = 0.0
            for k in range(3):
                away[k] = point[k] - centres[frame[row], k]
                length += away[k] * away[k]
                product += away[k] * pivot[k]
            cosine = product * inverse / max(np.sqrt(length), 1e-12)
            if cosine < smallest:
                smallest, furthest = cosine, row
    return smallest


@compiled_part
def _within(
    rows: Int64Array,
    frame: Int64Array,
    normalised: Float64Array,
    poses: Float64Array,
    focal: Float64Array,
    bound_px: float,
    point: Float64Array,
) -> Int64Array:
    """The observations, of some, whose error is within a bound."""
    kept, count = np.empty(len(rows), np.int64), 0
    for row in rows:
        x, y = normalised[row, 0], normalised[row, 1]
        if _squared_error(point, poses[frame[row]], x, y, focal[0], focal[1]) <= bound_px * bound_px:
            kept[count] = row
            count += 1
    return kept[:count]


@compiled_part
def _centres(poses: Float64Array) -> Float64Array:
    """Camera centres (F, 3)."""
    centres = np.empty((len(poses), 3))
    for k in range(len(poses)):
        for c in range(3):
            pose = poses[k]
            centres[k, c] = -(pose[0, c] * pose[0, 3] + pose[1, c] * pose[1, 3] + pose[2, c] * pose[2, 3])
    return centres


@compiled_for_workers
def first_points(
    starts: Int64Array,
    frame: Int64Array,
    normalised: Float64Array,
    poses: Float64Array,
    focal: Float64Array,
    threshold_px: float,
    scale_px: float,
    hypotheses: int,
    seed: int,
) -> tuple[Float64Array, Float64Array]:
    """A robust point for every track, from all of its observations.

    Args:
        starts: First row of every track, and the end (T + 1,).
        frame: Row of ``poses`` of every observation (O,).
        normalised: The observations at depth 1 (O, 2).
        poses: cam_from_world (F, 3, 4).
        focal: Focal lengths (2,) in pixels.
        threshold_px: Where the error of an observation is truncated while hypotheses are compared.
        scale_px: Scale of the Cauchy weights.
        hypotheses: Two-view points tried.
        seed: Of the choice of views.

    Returns:
        Points (T, 3), and the cosine (T,) of the widest angle between two rays of each.
    """
    count = len(starts) - 1
    points, cosine = np.zeros((count, 3)), np.ones(count)
    centres = _centres(poses)
    for track in range(count):
        rows = np.arange(starts[track], starts[track + 1])
        if len(rows) < 2:
            continue
        start = (seed + (starts[track] + 1) * 2654435761) & 0x7FFFFFFF
        _consensus(rows, frame, normalised, poses, focal, threshold_px, hypotheses, start, points[track])
        _refine(rows, frame, normalised, poses, focal, scale_px, 6, points[track])
        cosine[track] = _smallest_cosine(rows, frame, centres, points[track])
    return points, cosine


@compiled_for_workers
def consistent_points(
    starts: Int64Array,
    frame: Int64Array,
    normalised: Float64Array,
    poses: Float64Array,
    focal: Float64Array,
    limit_px: float,
    most_cosine: float,
    min_views: int,
    passes: int,
    seed: int,
    points: Float64Array,
    owner: NDArray[np.int8],
    error: Float64Array,
) -> None:
    """Points of tracks with the observations that agree with them; what one point leaves may make another.

    Args:
        starts: First row of every track, and the end (T + 1,).
        frame: Row of ``poses`` of every observation (O,).
        normalised: The observations at depth 1 (O, 2).
        poses: cam_from_world (F, 3, 4).
        focal: Focal lengths (2,) in pixels.
        limit_px: Largest error of an observation.
        most_cosine: Largest cosine of the widest angle between two rays of a point.
        min_views: Fewest observations of a point.
        passes: Most points of a track.
        seed: Of the choice of views.
        points: Takes the points (passes, T, 3).
        owner: Takes which of its track's points each observation belongs to (O,); all :data:`UNUSED` at first.
        error: Takes its error in pixels (O,).
    """
    count = len(starts) - 1
    centres = _centres(poses)
    for track in range(count):
        for number in range(passes):
            unused = owner[starts[track] : starts[track + 1]] == UNUSED
            rows = starts[track] + np.flatnonzero(unused)
            if len(rows) < min_views:
                break
            point = points[number, track]
            start = (seed + (starts[track] + 1) * 2654435761 + number * 40503) & 0x7FFFFFFF
            _consensus(rows, frame, normalised, poses, focal, 2 * limit_px, HYPOTHESES, start, point)
            _refine(rows, frame, normalised, poses, focal, limit_px / 2, 6, point)
            for factor in BOUNDS:
                rows = _within(rows, frame, normalised, poses, focal, factor * limit_px, point)
                if len(rows) < min_views:
                    break
                _refine(rows, frame, normalised, poses, focal, limit_px / 2, 3, point)
            if len(rows) < min_views or _smallest_cosine(rows, frame, centres, point) > most_cosine:
                continue
            rows = _within(rows, frame, normalised, poses, focal, limit_px, point)
            if len(rows) < min_views:
                continue
            for row in rows:
                owner[row] = number
                x, y = normalised[row]
                error[row] = np.sqrt(_squared_error(point, poses[frame[row]], x, y, focal[0], focal[1]))
