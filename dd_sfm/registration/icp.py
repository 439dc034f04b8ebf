"""Scaled point-to-plane ICP: robust, from far to near, by the errors expected of the points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.registration.moving import Moving
from dd_sfm.registration.target import Target
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray

MIN_COSINE = 0.5
"""Of the normals of a point and of the surface where it is matched."""
ORIENTED = 0.6
"""Where the normals of the matches agree so well on average, the surface has a front, and only that is matched."""
TUKEY_MADS = 4.0
"""Residuals beyond so many standard deviations, by the median, have no weight."""
MOST_TURN, MOST_GROWTH = 0.25, 0.12
"""Of one step, in radians and in the logarithm of the scale."""
DAMPING = 1e-5
"""Of directions in which the surface holds nothing, as a share of the mean of all: they stay as they are."""
CAP_SHARE = 0.05
"""Distances from the surface count in a score as at most this share of the cloud's radius."""


@dataclass(frozen=True)
class Schedule:
    """How ICP goes from far to near: ``reach`` of the first and of the last matches as shares of the cloud's radius,
    the number of ``steps`` between them, and of ``settling`` steps after them.
    """  # fmt: skip

    reach: tuple[float, float] = (0.8, 0.08)
    steps: int = 30
    settling: int = 10


@dataclass(frozen=True)
class Matches:
    """Points of a cloud and the planes of the surface where they are matched.

    ``used`` (P,) bool; of all points: ``residual`` (P,) along the normal, ``plane`` (P, 3) that normal.
    """

    used: NDArray[np.bool_]
    residual: FloatArray
    plane: FloatArray


def match(
    cloud: Moving, target: Target, at: Similarity, reach: float, side: float
) -> tuple[FloatArray, Matches, float]:
    """Match a cloud to the nearest samples within ``reach``.

    Args:
        cloud: The cloud.
        target: The surface.
        at: Where the cloud is.
        reach: Largest distance of a match, in the surface's unit.
        side: 1 or -1 where normals must agree or disagree with the surface's, 0 where they may do either.

    Returns:
        The points (P, 3) in place, their matches, and the mean cosine of the normals of the matches, signed.
    """
    points = at.points(cloud.xyz)
    distance, index = target.tree.query(points, distance_upper_bound=reach)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    plane = target.normals[index]
    residual = ((points - target.xyz[index]) * plane).sum(1)
    cosine = ((cloud.normals @ at.rotation.T) * plane).sum(1)
    # Clouds without normals have zeros.
    bare = ~cloud.normals.any(1)
    fits = (side * cosine if side else np.abs(cosine)) > MIN_COSINE
    used = found & (fits | bare)
    agreement = float(cosine[used].mean()) if used.any() else 0.0
    return points, Matches(used, residual, plane), agreement


def refine(
    cloud: Moving, target: Target, start: Similarity, schedule: Schedule, *, scale_sigma: float | None = None
) -> tuple[Similarity, float]:
    """Move a cloud onto a surface from a start that is roughly right.

    Residuals are measured in the cloud's own unit: in the surface's, a smaller cloud would fit better anywhere.

    Args:
        cloud: The cloud.
        target: The surface.
        start: Where it is.
        schedule: From how far to how near matches are made.
        scale_sigma: Standard deviation of the logarithm of the start's scale; 0 for one that is kept, None for one
            that is open.

    Returns:
        Where it is then, and on which side of the surface (see :func:`match`).
    """
    at, side = start, 0.0
    shares = np.geomspace(*schedule.reach, schedule.steps).tolist() + [schedule.reach[1]] * schedule.settling
    for step, share in enumerate(shares):
        points, matches, agreement = match(cloud, target, at, share * cloud.radius * at.scale, side)
        side = side or (np.sign(agreement) if abs(agreement) > ORIENTED and step > schedule.steps // 3 else 0.0)
        if matches.used.sum() < 12:
            break
        at = _moved(at, points, _solve(cloud, points, matches, at.scale, start.scale, scale_sigma))
    return at, side


def robust_weights(residual: FloatArray, sigma: FloatArray) -> FloatArray:
    """Tukey's weights of residuals (N,), times those of the errors expected of the points."""
    width = TUKEY_MADS * 1.4826 * float(np.median(np.abs(residual)))
    inside = np.maximum(0.0, 1 - np.square(residual / max(width, 1e-12)))
    return np.square(inside) / (np.square(sigma) + np.median(sigma) ** 2)


def normal_matrix(
    points: FloatArray, matches: Matches, sigma: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """The normal equations of a step about the centre of the points, in units of the points' radius.

    Returns:
        The matrix (7, 7) over turn (3), shift (3) and growth, all as displacements at the radius, and divided by the
        sum of weights; the right side (7,); the centre (3,), and the radius.
    """
    p, n, e = points[matches.used], matches.plane[matches.used], matches.residual[matches.used]
    weight = robust_weights(e, sigma[matches.used])
    weight = weight / max(float(weight.sum()), 1e-300)
    centre = weight @ p
    local = p - centre
    radius = max(float(np.sqrt(weight @ np.square(local).sum(1))), 1e-12)
    along = (local * n).sum(1) - e
    jacobian = np.column_stack([np.cross(local, n) / radius, n, along / radius])
    weighted = jacobian * weight[:, None]
    return weighted.T @ jacobian, -weighted.T @ e, centre, radius


def _solve(
    cloud: Moving, points: FloatArray, matches: Matches, scale: float, first_scale: float, scale_sigma: float | None
) -> tuple[FloatArray, FloatArray]:
    """One step: turn, shift and growth (7,), the first and last as angles, about a centre (3,)."""
    matrix, side, centre, radius = normal_matrix(points, matches, cloud.sigma * scale)
    matrix = matrix + DAMPING * np.eye(7) * np.trace(matrix) / 7
    if scale_sigma is not None:
        # As if so much weight lay on a measurement of the scale; the residuals' spread is its unit.
        spread = 1.4826 * float(np.median(np.abs(matches.residual[matches.used]))) + 1e-12
        strength = 1e12 if not scale_sigma else np.square(spread / (scale_sigma * radius)) / 100
        matrix[6, 6] += strength
        side[6] += strength * radius * np.log(first_scale / scale)
    step = np.linalg.solve(matrix, side)
    step[[0, 1, 2, 6]] /= radius
    turn = float(np.linalg.norm(step[:3]))
    step[:3] *= min(1.0, MOST_TURN / max(turn, 1e-12))
    step[6] = np.clip(step[6], -MOST_GROWTH, MOST_GROWTH)
    return step, centre


def _moved(at: Similarity, points: FloatArray, step: tuple[FloatArray, FloatArray]) -> Similarity:
    values, centre = step
    rotation = Rotation.from_rotvec(values[:3]).as_matrix()
    growth = float(np.exp(values[6]))
    shift = growth * rotation @ (at.shift - centre) + centre + values[3:6]
    return Similarity(growth * at.scale, rotation @ at.rotation, shift)


def score(cloud: Moving, target: Target, at: Similarity, side: float, cap: float | None = None) -> float:
    """Mean distance of a cloud from a surface as a share of the cloud's radius; far points count by a cap alone."""
    reach = (CAP_SHARE if cap is None else cap) * cloud.radius * at.scale
    _, matches, _ = match(cloud, target, at, reach, side)
    distance = np.where(matches.used, np.minimum(np.abs(matches.residual), reach), reach)
    return float(distance.mean()) / (cloud.radius * at.scale)
