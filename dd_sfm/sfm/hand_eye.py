"""A reconstruction brought onto a measured path: similarity, sensor-to-camera transform and time offset together.

With T the measured pose of a sensor (world_from_sensor) and C that of the camera in the reconstruction, T X = S C: X,
the camera's pose in the sensor's axes, is the hand-eye transform (Strobl and Hirzinger, IROS 2006), and S the
similarity transform from the reconstruction to the world of the path. A time offset shifts the path against the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import rotation_angles_deg
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.path_pair import PathPair
from dd_sfm.structures import FloatArray

ALIKE = 5.0
"""Errors of so many neighbouring poses count as one."""
TURNED_DOWN = 3.0
"""Residuals are turned down from so many standard deviations on."""
SENSOR_MM, SENSOR_RAD = 100.0, np.pi / 2
"""What is expected of a hand-eye transform before: it holds what the motion leaves open."""
LEAST_POSES = 4
FEW_STEPS, MOST_STEPS, ROUNDS, CONVERGED = 6, 40, 5, 1e-5
SEARCH_STEPS, SEARCH_STEP_S = 41, 0.025
"""Offsets are tried in so many steps or more, of at most so many seconds: the motion of a hand is lost in longer ones.
"""
SEARCH_SAMPLES = 200
"""In more steps than these, by at most so many poses."""
LEAST_OVERLAP = 0.5
"""An offset is only tried with this share of the poses that the best one has: few poses fit anything."""
NOT_TOLD = 1e-13
LEAST_SHARE = 0.25
"""Poses are taken to be at most twice as exact as stated."""
WORTH = 10.0
"""Gain in likelihood (of squared residuals in standard deviations) for which an unknown group is taken up."""


@dataclass(frozen=True)
class PathFit:
    """What brings a reconstruction onto a path.

    ``scale``, ``rotation`` (3, 3), ``shift`` (3,): the similarity transform; ``sensor_from_cam`` (3, 4);
    ``offset_s``: time of the path at the beginning of the frames' times; ``has_sensor``, ``has_offset``: whether these
    were estimated; the ``..._sigma`` are standard deviations, of the scale relative to it, of the sensor's distance
    in mm.
    """

    scale: float
    rotation: FloatArray
    shift: FloatArray
    sensor_from_cam: FloatArray
    offset_s: float
    has_sensor: bool = False
    has_offset: bool = False
    scale_sigma: float = 0.0
    sensor_sigma_mm: float = 0.0
    offset_sigma_s: float = 0.0

    def to_path(self, world_from_cam: FloatArray) -> FloatArray:
        """Poses world_from_cam (N, 3, 4) of the reconstruction in the world of the path."""
        turned = self.rotation @ world_from_cam[:, :, :3]
        moved = self.scale * world_from_cam[:, :, 3] @ self.rotation.T + self.shift
        return np.concatenate([turned, moved[:, :, None]], -1)

    def camera_on(self, world_from_sensor: FloatArray) -> FloatArray:
        """Poses world_from_cam (N, 3, 4) of a camera on a sensor with poses (N, 3, 4)."""
        return compose(world_from_sensor, self.sensor_from_cam)


def compose(first: FloatArray, second: FloatArray) -> FloatArray:
    """Poses (N, 3, 4) first o second; the second may be one pose (3, 4)."""
    turned = first[..., :3] @ second[..., :3]
    moved = (first[..., :3] @ second[..., 3:])[..., 0] + first[..., 3]
    return np.concatenate([turned, moved[..., None]], -1)


@dataclass(frozen=True)
class _Weights:
    """Standard deviations of measured poses: of a position by axis in mm, of an orientation by axis in radians."""

    mm: float
    rad: float


def fit_path(
    pair: PathPair,
    sigma_mm: float,
    sigma_deg: float,
    *,
    sensor: FloatArray | None,
    is_asked: bool = False,
    offset: float = 0.0,
    within: float = 0.0,
) -> PathFit | None:
    """Bring frames onto a path; None where too few poses belong together.

    Args:
        pair: The frames and the path.
        sigma_mm: Standard deviation of the measured positions, by axis.
        sigma_deg: The same of the orientations.
        sensor: The camera's pose (3, 4) in the sensor's axes, where it is known; None: estimated where the residuals
            show one.
        is_asked: Whether it is estimated whatever they show.
        offset: Time offset from which on it is searched.
        within: Largest difference from it; 0 where it is known.
    """
    weights = _Weights(sigma_mm, np.radians(sigma_deg))
    known = np.eye(3, 4) if sensor is None else sensor
    tried = []
    sensors = (False,) if sensor is not None else (True,) if is_asked else (False, True)
    for has_sensor, has_offset in product(sensors, (False, True) if within else (False,)):
        found = _fitted(pair, weights, known, has_sensor, offset, within if has_offset else 0.0)
        tried += [] if found is None else [found]
    if not tried:
        return None
    # Where poses are less exact than stated, less of what an unknown explains is worth it.
    share = max(1.0, min(found.share for found in tried))
    return min(
        tried, key=lambda found: found.mean_cost / share + WORTH * (found.fit.has_sensor + found.fit.has_offset)
    ).fit


@dataclass(frozen=True)
class _Found:
    """A fit, what its residuals cost, and that relative to what is expected of them."""

    fit: PathFit
    mean_cost: float
    share: float


def _fitted(
    pair: PathPair, weights: _Weights, sensor: FloatArray, has_sensor: bool, offset: float, within: float
) -> _Found | None:
    """The best fit with some of the unknowns."""
    start = _best_offset(pair, weights, sensor, has_sensor, offset, within) if within else offset
    rows = pair.rows(start)
    if len(rows) < LEAST_POSES:
        return None
    free = _Unknowns(has_sensor, bool(within), offset, within)
    problem = _Problem(pair, rows, weights, free)
    # A few steps tell which start is the one to go on from.
    tried = [problem.solve(first, FEW_STEPS) for first in _starts(*pair.at(rows, start), sensor, has_sensor, start)]
    cost, fit = problem.solve(min(tried, key=lambda one: one[0])[1], MOST_STEPS)
    share = cost / max(1, 6 * len(rows) - free.count)
    return _Found(problem.with_sigmas(fit, share), cost / ALIKE, share)


class _Problem:
    """Poses that are to agree, and the equations that they make."""

    def __init__(self, pair: PathPair, rows: NDArray[np.int64], weights: _Weights, free: "_Unknowns") -> None:
        self._pair, self._rows, self._weights, self._free = pair, rows, weights, free

    def solve(self, fit: PathFit, steps: int) -> tuple[float, PathFit]:
        """The fit with the least cost near one, by so many steps of Levenberg and Marquardt's method, and that cost."""
        cost, damping = self._cost(fit), 1e-3
        for _ in range(steps):
            matrix, right = self._equations(fit)
            change = np.linalg.lstsq(matrix + damping * np.diag(np.diag(matrix)), -right, rcond=None)[0]
            tried = self._free.changed(fit, change)
            then = self._cost(tried)
            if not then < cost:
                damping *= 8
                if damping > 1e8:
                    break
                continue
            gained, cost, fit, damping = (cost - then) / max(cost, 1e-300), then, tried, max(damping / 5, 1e-9)
            if gained < CONVERGED:
                break
        return cost, fit

    def with_sigmas(self, fit: PathFit, share: float) -> PathFit:
        """A fit with its standard deviations; where poses are less exact than stated, what they leave open is more."""
        matrix = self._equations(fit)[0]
        # What is not told at all gets a variance that is large, as with a pseudo-inverse it would get none.
        held = np.linalg.inv(matrix + NOT_TOLD * float(np.trace(matrix)) * np.eye(len(matrix)))
        variance = np.diag(held) * ALIKE * max(share, LEAST_SHARE)
        deviation = np.sqrt(np.maximum(variance, 0))
        sensor = float(np.linalg.norm(deviation[10:13])) if fit.has_sensor else 0.0
        offset = float(deviation[-1]) if fit.has_offset else 0.0
        return replace(fit, scale_sigma=float(deviation[0]), sensor_sigma_mm=sensor, offset_sigma_s=offset)

    def _cost(self, fit: PathFit) -> float:
        residuals = _residuals(fit, *self._pair.at(self._rows, fit.offset_s), self._weights)
        robust = TURNED_DOWN**2 * np.log1p(np.square(residuals / TURNED_DOWN))
        return float(robust.sum() + np.square(self._free.priors(fit)[0]).sum())

    def _equations(self, fit: PathFit) -> tuple[FloatArray, FloatArray]:
        """Normal equations (U, U) and their right side (U,)."""
        cameras, sensors = self._pair.at(self._rows, fit.offset_s)
        residuals = _residuals(fit, cameras, sensors, self._weights)
        slopes = _slopes(fit, cameras, sensors, self._weights, self._free)
        if self._free.has_offset:
            # Over the way between measured poses, whose errors would else be taken for motion.
            step = self._pair.step
            both = (self._pair.at(self._rows, fit.offset_s + side * step) for side in (-0.5, 0.5))
            before, after = (_residuals(fit, *poses, self._weights) for poses in both)
            slopes[:, :, -1] = (after - before) / step
        weight = 1 / (1 + np.square(residuals / TURNED_DOWN))
        flat = slopes.reshape(-1, slopes.shape[2])
        expected, by_unknown = self._free.priors(fit)
        matrix = flat.T @ (weight.reshape(-1, 1) * flat) + by_unknown.T @ by_unknown
        return matrix, flat.T @ (weight * residuals).ravel() + by_unknown.T @ expected


def _slopes(fit: PathFit, cameras: FloatArray, sensors: FloatArray, weights: _Weights, free: "_Unknowns") -> FloatArray:
    """Derivatives (K, 6, U) of the residuals by the unknowns, but for the offset."""
    slopes = np.zeros((len(cameras), 6, free.count))
    moved = fit.scale * cameras[:, :, 3] @ fit.rotation.T
    slopes[:, :3, 0] = moved
    slopes[:, :3, 1:4] = np.cross(np.eye(3)[None], moved[:, None]).transpose(0, 2, 1)
    slopes[:, :3, 4:7] = np.eye(3)
    theirs = sensors[:, :, :3] @ fit.sensor_from_cam[:, :3]
    slopes[:, 3:, 1:4] = theirs.transpose(0, 2, 1)
    if free.has_sensor:
        slopes[:, :3, 10:13] = -sensors[:, :, :3]
        slopes[:, 3:, 7:10] = -fit.sensor_from_cam[:, :3].T
    slopes[:, :3] /= weights.mm
    slopes[:, 3:] /= weights.rad
    return slopes


@dataclass(frozen=True)
class _Unknowns:
    """Which unknowns are free: always the similarity transform (7), then the sensor (6), then the offset (1)."""

    has_sensor: bool
    has_offset: bool
    offset: float
    within: float

    @property
    def count(self) -> int:
        return 7 + 6 * self.has_sensor + self.has_offset

    def changed(self, fit: PathFit, change: FloatArray) -> PathFit:
        """A fit changed by such values (U,)."""
        sensor, offset = fit.sensor_from_cam, fit.offset_s
        if self.has_sensor:
            turned = Rotation.from_rotvec(change[7:10]).as_matrix() @ sensor[:, :3]
            sensor = np.column_stack([turned, sensor[:, 3] + change[10:13]])
        if self.has_offset:
            offset = float(np.clip(offset + change[-1], self.offset - self.within, self.offset + self.within))
        return replace(
            fit,
            scale=fit.scale * float(np.exp(np.clip(change[0], -2, 2))),
            rotation=Rotation.from_rotvec(change[1:4]).as_matrix() @ fit.rotation,
            shift=fit.shift + change[4:7],
            sensor_from_cam=sensor,
            offset_s=offset,
            has_sensor=self.has_sensor,
            has_offset=self.has_offset,
        )

    def priors(self, fit: PathFit) -> tuple[FloatArray, FloatArray]:
        """What is expected of the sensor and the offset before: residuals (R,), and their derivatives (R, U)."""
        residuals, slopes = np.zeros(7), np.zeros((7, self.count))
        if self.has_sensor:
            residuals[:3] = Rotation.from_matrix(fit.sensor_from_cam[:, :3]).as_rotvec() / SENSOR_RAD
            residuals[3:6] = fit.sensor_from_cam[:, 3] / SENSOR_MM
            slopes[:3, 7:10], slopes[3:6, 10:13] = np.eye(3) / SENSOR_RAD, np.eye(3) / SENSOR_MM
        if self.has_offset:
            residuals[6], slopes[6, -1] = (fit.offset_s - self.offset) / self.within, 1 / self.within
        return residuals, slopes


def _residuals(fit: PathFit, cameras: FloatArray, sensors: FloatArray, weights: _Weights) -> FloatArray:
    """Differences (K, 6) of positions and orientations, in standard deviations."""
    ours, theirs = fit.to_path(cameras), fit.camera_on(sensors)
    turned = Rotation.from_matrix(theirs[:, :, :3].transpose(0, 2, 1) @ ours[:, :, :3]).as_rotvec()
    return np.concatenate([(ours[:, :, 3] - theirs[:, :, 3]) / weights.mm, turned / weights.rad], 1)


def _starts(
    cameras: FloatArray, sensors: FloatArray, sensor: FloatArray, has_sensor: bool, offset: float
) -> Iterator[PathFit]:
    """Fits to start from: rotation by orientations, and by positions, which a hand-eye transform leaves alike."""
    on_sensor = compose(sensors, sensor)
    by_turns = _mean_rotation(on_sensor[:, :, :3] @ cameras[:, :, :3].transpose(0, 2, 1))
    yield _with_rotation(by_turns, cameras, sensors, sensor, offset)
    if not has_sensor:
        return
    for rotation in (_two_sided(cameras, sensors), similarity(cameras[:, :, 3], sensors[:, :, 3]).rotation):
        own = _mean_rotation(sensors[:, :, :3].transpose(0, 2, 1) @ rotation @ cameras[:, :, :3])
        yield _with_rotation(rotation, cameras, sensors, np.column_stack([own, sensor[:, 3]]), offset)


def _mean_rotation(rotations: FloatArray) -> FloatArray:
    """The rotation that most of some (N, 3, 3) agree with: a mean in which those far away count less and less."""
    weight = np.ones(len(rotations))
    for _ in range(ROUNDS):
        u, _, vt = np.linalg.svd((weight[:, None, None] * rotations).sum(0))
        mean = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        away = np.square(rotations - mean).sum((1, 2))
        weight = 1 / (away + max(float(np.median(away)), 1e-12))
    return np.asarray(mean)


def _two_sided(cameras: FloatArray, sensors: FloatArray) -> FloatArray:
    """The rotation of S by T X = S C alone, by the quaternions' linear equations."""
    ours, theirs = (_continuous(Rotation.from_matrix(p[:, :, :3]).as_quat()) for p in (cameras, sensors))
    rows = np.concatenate([_product(theirs, left=True), -_product(ours, left=False)], 2).reshape(-1, 8)
    solution = np.linalg.svd(rows, full_matrices=False)[2][-1]
    quaternion = solution[4:]
    if np.linalg.norm(quaternion) < 1e-6:
        return np.eye(3)
    return np.asarray(Rotation.from_quat(quaternion).as_matrix())


def _continuous(quaternions: FloatArray) -> FloatArray:
    """Quaternions (N, 4) of which neighbours have the same sign."""
    signs = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
    return quaternions * np.cumprod(np.concatenate([[1.0], np.where(signs == 0, 1, signs)]))[:, None]


def _product(quaternions: FloatArray, *, left: bool) -> FloatArray:
    """Matrices (N, 4, 4) of the product with quaternions x, y, z, w (N, 4) from the left or from the right."""
    x, y, z, w = quaternions.T
    sign = 1.0 if left else -1.0
    rows = [[w, -sign * z, sign * y, x], [sign * z, w, -sign * x, y], [-sign * y, sign * x, w, z], [-x, -y, -z, w]]
    return np.stack([np.stack(row, -1) for row in rows], 1)


def _with_rotation(
    rotation: FloatArray, cameras: FloatArray, sensors: FloatArray, sensor: FloatArray, offset: float
) -> PathFit:
    """Scale and shift for a rotation, by medians of long baselines, which most cameras that are right decide."""
    turned = cameras[:, :, 3] @ rotation.T
    target = compose(sensors, sensor)[:, :, 3]
    half = max(1, len(turned) // 2)
    ours, theirs = (np.linalg.norm(np.roll(c, half, axis=0) - c, axis=1) for c in (turned, target))
    known = ours > 1e-12
    scale = float(np.median(theirs[known] / ours[known])) if known.any() else 1.0
    scale = scale if scale > 0 else 1.0
    shift = np.median(target - scale * turned, axis=0)
    return PathFit(scale, rotation, shift, sensor, offset)


def _best_offset(
    pair: PathPair, weights: _Weights, sensor: FloatArray, has_sensor: bool, offset: float, within: float
) -> float:
    """The offset with the smallest mean cost, of many."""
    # An odd number, so that the offset itself is among them.
    steps = max(SEARCH_STEPS, 2 * int(np.ceil(within / SEARCH_STEP_S - 1e-6)) + 1)
    places = [(float(tried), pair.rows(tried)) for tried in offset + within * np.linspace(-1, 1, steps)]
    least = max(LEAST_POSES, LEAST_OVERLAP * max(len(rows) for _, rows in places))
    found = []
    for tried, rows in places:
        if len(rows) < least:
            continue
        every = 1 if steps == SEARCH_STEPS else -(-len(rows) // SEARCH_SAMPLES)
        own = pair.at(rows[::every], tried)
        # The starts alone, without refinement, tell which offset is near.
        costs = [np.log1p(_residuals(s, *own, weights) ** 2).mean() for s in _starts(*own, sensor, has_sensor, tried)]
        found.append((min(costs), abs(tried - offset), tried))
    return float(min(found)[2]) if found else offset


def misfits(fit: PathFit, world_from_cam: FloatArray, world_from_sensor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far frames lie from their measured places (N,) in mm, and how far they are turned (N,) in degrees."""
    ours, theirs = fit.to_path(world_from_cam), fit.camera_on(world_from_sensor)
    turned = rotation_angles_deg(theirs[:, :, :3].transpose(0, 2, 1) @ ours[:, :, :3])
    return np.linalg.norm(ours[:, :, 3] - theirs[:, :, 3], axis=1), turned
