"""Whether a registration is decided: by directions in which the surface holds nothing, and by other places that fit."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.registration.icp import CAP_SHARE, Matches, match, normal_matrix, robust_weights
from dd_sfm.registration.moving import Moving
from dd_sfm.registration.target import Target
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray

LEAST_HOLD = 0.003
"""Smallest eigenvalue of the normal matrix (mean square of what a unit displacement at the cloud's radius moves points
along their normals) of a direction that the surface holds."""
DECIDED_SHARE = 0.05
"""A registration is decided when points may be displaced by less than this share of the cloud's radius."""
EQUAL_SCORE = 1.15
"""Another place fits as well when its score is at most so many times the best one."""
CELL_SHARE = 0.3
"""Residuals within cells of this share of the radius count as one measurement: errors of neighbours are alike."""
PART = 0.25
"""A direction is named by its parts that have this share of its square or more."""


@dataclass(frozen=True)
class Direction:
    """A way in which the cloud may be displaced.

    ``vector`` (7,): turn (3), shift (3) and growth as displacements at the radius, of length 1; ``hold``: see
    ``LEAST_HOLD``; ``sigma``: standard deviation of the displacement in the surface's unit.
    """

    vector: FloatArray
    hold: float
    sigma: float

    @property
    def free(self) -> bool:
        """Whether the surface holds nothing in this direction."""
        return self.hold < LEAST_HOLD


@dataclass(frozen=True)
class Directions:
    """The least certain directions first; ``centre`` (3,) of turns and growth, ``radius`` of the cloud in place."""

    all: tuple[Direction, ...]
    centre: FloatArray
    radius: float

    @property
    def undecided(self) -> list[Direction]:
        """Those that leave points open by more than ``DECIDED_SHARE``."""
        return [d for d in self.all if d.free or 2 * d.sigma > DECIDED_SHARE * self.radius]

    def displaced(self, at: Similarity, direction: Direction, by: float) -> Similarity:
        """A place moved along a direction by so much at the radius."""
        turn, shift, growth = direction.vector[:3], direction.vector[3:6], direction.vector[6]
        rotation = Rotation.from_rotvec(turn * by / self.radius).as_matrix()
        factor = float(np.exp(growth * by / self.radius))
        moved = factor * rotation @ (at.shift - self.centre) + self.centre + by * shift
        return Similarity(factor * at.scale, rotation @ at.rotation, moved)


def directions(cloud: Moving, target: Target, at: Similarity, side: float, *, scale_known: bool) -> Directions:
    """How well each direction is held: the normal matrix, and the spread that the residuals leave.

    The covariance is that of weighted least squares whose errors may be alike within cells in space (the clustered
    sandwich estimator): dense points of one frame share errors, so that their number says little.
    """
    points, matches, _ = match(cloud, target, at, CAP_SHARE * cloud.radius * at.scale, side)
    matrix, _, centre, radius = normal_matrix(points, matches, cloud.sigma * at.scale)
    size = 6 if scale_known else 7
    matrix = matrix[:size, :size]
    gradient = _cell_gradients(points, matches, cloud.sigma * at.scale, centre, radius)[:, :size]
    inverse = np.linalg.pinv(matrix + 1e-9 * np.trace(matrix) * np.eye(size))
    spread = inverse @ (gradient.T @ gradient) @ inverse
    hold, vectors = np.linalg.eigh(matrix)
    found = []
    for value, vector in zip(hold, vectors.T, strict=True):
        sigma = float(np.sqrt(max(vector @ spread @ vector, 0.0)))
        found.append(Direction(np.concatenate([vector, np.zeros(7 - size)]), float(max(value, 0.0)), sigma))
    found.sort(key=lambda d: (not d.free, -d.sigma))
    return Directions(tuple(found), centre, radius)


def _cell_gradients(
    points: FloatArray, matches: Matches, sigma: FloatArray, centre: FloatArray, radius: float
) -> FloatArray:
    """Sums (C, 7) over the points of each cell of weight, residual and Jacobian."""
    p, n, e = points[matches.used], matches.plane[matches.used], matches.residual[matches.used]
    weight = robust_weights(e, sigma[matches.used])
    weight = weight / max(float(weight.sum()), 1e-300)
    local = p - centre
    jacobian = np.column_stack([np.cross(local, n) / radius, n, ((local * n).sum(1) - e) / radius])
    cell = np.unique(np.floor(local / (CELL_SHARE * radius)).astype(np.int64), axis=0, return_inverse=True)[1]
    values = jacobian * (weight * e)[:, None]
    return np.stack([np.bincount(cell.ravel(), weights=column) for column in values.T], 1)


def words(direction: Direction, by: float, radius: float, unit: str) -> str:
    """A direction and an amount in words: "along (0.00, 0.10, 0.99) by 3.1 mm"."""
    turn, shift, growth = direction.vector[:3], direction.vector[3:6], float(direction.vector[6])
    parts = []
    if shift @ shift >= PART:
        parts.append(f"along {axis(shift)} by +- {np.linalg.norm(shift) * by:.3g} {unit}")
    if turn @ turn >= PART:
        parts.append(f"turned about {axis(turn)} by +- {np.degrees(np.linalg.norm(turn) * by / radius):.3g} degrees")
    if growth**2 >= PART:
        parts.append(f"scale by +- {100 * np.expm1(abs(growth) * by / radius):.2g} %")
    return ", together with ".join(parts) or f"all directions a little, by +- {by:.3g} {unit}"


def axis(vector: FloatArray) -> str:
    """A direction as text, its largest component positive."""
    unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
    unit = unit * np.sign(unit[np.argmax(np.abs(unit))])
    return f"({', '.join(f'{v:.2f}' for v in unit)})"


def displacement(cloud: Moving, first: Similarity, second: Similarity) -> float:
    """Median distance between where two transforms put the points of a cloud."""
    return float(np.median(np.linalg.norm(first.points(cloud.xyz) - second.points(cloud.xyz), axis=1)))
