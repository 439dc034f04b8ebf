"""How far points are off because their poses are, by first-order propagation through the bundle adjustment.

Matches on one region of tissue do not err independently: light moves with the scope, and they slide with it. Random
slides of all regions are drawn, and carried through the normal equations of the adjustment to poses and points. The
places are those after an alignment by the cameras. Where the scope hardly moves slides are small and other errors
count, which poses by either half of the tissue show. Why this model: docs/design-notes.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError
from scipy.sparse import bsr_array, csc_array, csr_array, dia_array, diags_array, eye_array, triu
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres, stack_poses, world_to_camera
from dd_sfm.ops.banded import BandedFactor
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.ops.slices import slices
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.structures import FloatArray, IntArray, Model

SLIDE = 0.0065
"""Standard deviation of a region's slide in the image, relative to the way of the camera seen from the tissue..."""
REGION_SIDE, REGION_FRAMES = 5, 8
"""...of regions that are this part of a frame wide and high, and that the middle views of whose points lie so close."""
HALVES_SHARE = 1.0
"""Poses by either half of the tissue differ by what they err: by so much of that those by all of it do..."""
FEWEST_OBSERVATIONS = 12
"""...where either half has so many observations of every frame."""
NOISE = 0.3
"""Standard deviation of an observation by itself, relative to the residual at which the adjustment turns it down."""
DRAWS = 32
"""Draws of all slides: standard deviations from so many are within some 12 %, alike for all points."""
DAMPING = 1e-8
"""Holds size and place of the whole, which the adjustment leaves open and no slide moves."""
NEIGHBOURS = 4
"""Points of the adjustment that tell the error of a point near by."""
OBSERVATIONS = 100_000
"""Of points that are eliminated at once; each takes some 2.5 kB."""
PLACES = 50_000
"""Places whose neighbours are in memory at once."""


class NormalEquations:
    """The adjustment of a model, linear around it; poses change by a rotation and a shift in the camera's axes.

    Points are eliminated a part at a time: of a long path, what is made of all observations at once takes gigabytes.

    Args:
        model: Poses and observations.
        scale_px: Residual from which on the Cauchy loss turns observations down.
    """

    def __init__(self, model: Model, scale_px: float) -> None:
        numbers = np.array(sorted(model.cam_from_world))
        self.poses: FloatArray = stack_poses(model.cam_from_world)[numbers]
        self._model, self._numbers, self._scale_px = model, numbers, scale_px
        size = 6 * len(numbers)
        matrix, diagonal = csc_array((size, size)), np.zeros(size)
        for part in self._parts():
            weighted = part.weight @ part.by_pose
            matrix += (weighted.T @ part.by_pose - part.onto_points @ part.mixed.T).tocsc()
            diagonal += weighted.multiply(part.by_pose).sum(0)
        self._factor = _factor(matrix, np.where(diagonal > 0, diagonal, 1))

    def _parts(self) -> "Iterator[_Part]":
        for block in point_blocks(self._model, OBSERVATIONS):
            yield _Part.of(block, self._numbers, self._scale_px)

    def poses_moved_by(self, moves: csr_array, amounts: FloatArray) -> FloatArray:
        """How poses (F, 6, K) move where observations do.

        Args:
            moves: Shifts of observations in pixels (2O, M), by M causes.
            amounts: Sizes (M, K) of the causes in K cases.
        """
        cause, first = np.zeros((6 * len(self.poses), amounts.shape[1])), 0
        for part in self._parts():
            last = first + part.by_pose.shape[0]
            shifts = part.weight @ (moves[first:last] @ amounts)
            cause += part.by_pose.T @ shifts - part.onto_points @ (part.by_point.T @ shifts)
            first = last
        return self._aligned(self._factor.solve(cause.reshape(len(self.poses), 6, -1)))

    def points_moved_by(self, poses: FloatArray) -> Iterator[FloatArray]:
        """How points (P, 3, K) move with poses (F, 6, K), a part of them at a time."""
        flat = poses.reshape(6 * len(self.poses), -1)
        for part in self._parts():
            yield -(part.onto_points.T @ flat).reshape(-1, 3, flat.shape[1])

    def _aligned(self, moved: FloatArray) -> FloatArray:
        """Changes of poses (F, 6, K) after the whole was aligned to where the cameras were."""
        rotation = self.poses[:, :, :3]
        turned, shifted = (-rotation.transpose(0, 2, 1) @ part for part in (moved[:, :3], moved[:, 3:]))
        centres = camera_centres(self.poses)
        turn = turned.mean(0)
        shifted = shifted - np.cross(turn.T, centres[:, None]).transpose(0, 2, 1)
        shifted -= shifted.mean(0)
        around = (centres - centres.mean(0))[:, :, None]
        growth = (around * shifted).sum((0, 1)) / max(float(np.square(around).sum()), 1e-30)
        shifted -= growth * around
        return np.concatenate([-rotation @ (turned - turn), -rotation @ shifted], 1)


@dataclass(frozen=True)
class _Part:
    """What some points and their observations bring to the equations.

    ``by_pose`` (2O, 6F) and ``by_point`` (2O, 3P): derivatives of the projections; ``weight`` (2O, 2O) of the robust
    loss; ``mixed`` (6F, 3P): what poses and points share; ``onto_points`` (6F, 3P): how points move with poses,
    negative and transposed.
    """

    by_pose: csr_array
    by_point: csr_array
    weight: dia_array
    mixed: csr_array
    onto_points: csr_array

    @classmethod
    def of(cls, model: Model, numbers: IntArray, scale_px: float) -> "_Part":
        """That of a model, whose frames have these numbers, ascending."""
        poses, count = stack_poses(model.cam_from_world), len(model.point)
        frame = np.searchsorted(numbers, model.frame)
        turned = poses[model.frame][:, :, :3]
        local = world_to_camera(model.xyz[model.point], poses[model.frame])
        # What lies behind a camera tells nothing of it.
        inverse = np.where(local[:, 2] > 0, 1 / np.where(local[:, 2] > 0, local[:, 2], 1), 0)
        flat = local[:, :2] * inverse[:, None]
        by_local = np.zeros((count, 2, 3))
        by_local[:, 0, 0], by_local[:, 1, 1] = model.camera.focal[:, None] * inverse
        by_local[:, :, 2] = -model.camera.focal * flat * inverse[:, None]
        by_pose = _block_rows(np.concatenate([-by_local @ _cross_matrices(local), by_local], 2), frame, len(numbers))
        of_points = by_local @ turned
        by_point = _block_rows(of_points, model.point, len(model.xyz))
        weight = 1 / (1 + np.square(model.xy - model.camera.denormalise(flat)).sum(1) / scale_px**2)
        blocks = np.zeros((len(model.xyz), 3, 3))
        np.add.at(blocks, model.point, weight[:, None, None] * (of_points.transpose(0, 2, 1) @ of_points))
        size = np.trace(blocks, axis1=1, axis2=2)
        blocks += 1e-6 * np.where(size > 0, size, 1)[:, None, None] * np.eye(3)
        diagonal = diags_array(np.repeat(weight, 2))
        mixed = ((diagonal @ by_pose).T @ by_point).tocsr()
        inverses = _block_rows(np.linalg.inv(blocks), np.arange(len(blocks)), len(blocks))
        return cls(by_pose, by_point, diagonal, mixed, (mixed @ inverses).tocsr())


def _factor(matrix: csc_array, diagonal: FloatArray) -> BandedFactor:
    """The factor of the equations, damped in proportion to a diagonal (6F,)."""
    damping = DAMPING
    while True:
        blocks = triu((matrix + damping * diags_array(diagonal)).tobsr((6, 6)), format="bsr")
        row = np.repeat(np.arange(len(diagonal) // 6), np.diff(blocks.indptr))
        try:
            return BandedFactor.of(blocks.data, row, blocks.indices)
        except LinAlgError:
            # Rounding can leave them short of positive where points are hardly held.
            damping *= 10


def errors_by_poses(model: Model, xyz: FloatArray, scale_px: float, seed: int) -> FloatArray:
    """Standard deviation (N,) of places that comes from the poses, relative to their distance; smooth over the tissue.

    Args:
        model: Points and observations like those that the poses were adjusted with: a spread part of them will do.
        xyz: Places (N, 3).
        scale_px: Residual at which the adjustment turns down an observation.
        seed: Seed of the draws.

    Returns:
        0 for all where there is nothing to adjust.
    """
    if len(model.cam_from_world) < 3 or not len(model.xyz) or not len(xyz):
        return np.zeros(len(xyz))
    moves, distance = slides(model)
    amounts = SLIDE * np.random.default_rng(seed).normal(size=(moves.shape[1], DRAWS))
    equations = NormalEquations(model, scale_px)
    poses, apart = equations.poses_moved_by(moves, amounts), HALVES_SHARE * _apart(model, scale_px)
    variance = (_point_variance(equations, poses) + _point_variance(equations, apart)) / distance**2
    tree, nearest = cKDTree(model.xyz), list(range(1, min(NEIGHBOURS, len(model.xyz)) + 1))
    found = np.empty(len(xyz))
    for part in slices(len(xyz), PLACES):
        found[part] = np.sqrt(np.median(variance[tree.query(xyz[part], k=nearest)[1]], axis=1))
    return found


def _point_variance(equations: NormalEquations, poses: FloatArray) -> FloatArray:
    """Mean squared way (P,) of points where poses (F, 6, K) move in K cases; 0 without any."""
    if not poses.shape[2]:
        return np.zeros(1)
    return np.concatenate([np.square(points).sum(1).mean(1) for points in equations.points_moved_by(poses)])


def _apart(model: Model, scale_px: float) -> FloatArray:
    """How far poses by one half of the tissue are from those by the other (F, 6, K), for K ways to halve it.

    Each half's are the next step of an adjustment to its own observations. Halves are regions of tissue in turn, as
    those of a chessboard, for the whole clip and changing over time.
    """
    numbers, (_, cell, time) = np.array(sorted(model.cam_from_world)), _regions(model)
    found = []
    for half in ((cell.sum(1)) % 2, (cell.sum(1) + time) % 2):
        parts = [select_points(model, half == side) for side in (0, 1)]
        observed = [np.bincount(part.frame, minlength=int(numbers[-1]) + 1)[numbers] for part in parts]
        if min(counts.min() for counts in observed) >= FEWEST_OBSERVATIONS:
            one, other = (_next_step(part, scale_px) for part in parts)
            found.append(one - other)
    return np.stack(found, axis=2) if found else np.zeros((len(numbers), 6, 0))


def _next_step(model: Model, scale_px: float) -> FloatArray:
    """How poses (F, 6) move in the next step of the adjustment."""
    poses = stack_poses(model.cam_from_world)
    projected, depth = model.camera.project(world_to_camera(model.xyz[model.point], poses[model.frame]))
    residual = np.where((depth > 0)[:, None], model.xy - projected, 0).reshape(-1, 1)
    own = eye_array(len(residual)).tocsr()
    return NormalEquations(model, scale_px).poses_moved_by(own, residual)[:, :, 0]


def place_errors(model: Model, scale_px: float, seed: int) -> FloatArray:
    """Standard deviation (F,) of where each camera is, by position ascending, in the unit of the poses.

    Slides of regions and errors of observations by themselves, of ``NOISE`` of the scale; see :func:`errors_by_poses`.
    """
    return np.asarray(np.sqrt(sum(_place_variances(model, scale_px, seed))))


def observation_variance(model: Model, scale_px: float, seed: int) -> float:
    """The squared residual in pixels that an observation counts one for beside measurements of another kind.

    As matches slide together, poses are less sure than so many observations by themselves would make them, by as much
    as the variance is larger than that of the noise.
    """
    by_slides, by_noise = _place_variances(model, scale_px, seed)
    share = float(np.median((by_slides + by_noise) / np.maximum(by_noise, 1e-30)))
    return (NOISE * scale_px) ** 2 * max(1.0, share)


def _place_variances(model: Model, scale_px: float, seed: int) -> tuple[FloatArray, FloatArray]:
    """Variances (F,) of where cameras are by slides of regions, and by errors of observations by themselves."""
    moves, _ = slides(model)
    rng, equations = np.random.default_rng(seed), NormalEquations(model, scale_px)
    alone = eye_array(2 * len(model.point)).tocsr()
    found = []
    for causes, size in ((moves, SLIDE), (alone, NOISE * scale_px)):
        moved = equations.poses_moved_by(causes, size * rng.normal(size=(causes.shape[1], DRAWS)))
        # A rotation does not change the length of the shift.
        found.append(np.square(moved[:, 3:]).sum(1).mean(1))
    return found[0], found[1]


def slides(model: Model) -> tuple[csr_array, FloatArray]:
    """How observations shift where the matches of a region of tissue slide.

    Returns:
        Shifts in pixels (2O, 6R): by region, along x for a way of the camera along its three axes, then along y; and
        the distance (P,) of every point from its middle view.
    """
    poses, (from_frame, cell, time) = stack_poses(model.cam_from_world), _regions(model)
    centres = camera_centres(poses)
    distance = np.linalg.norm(model.xyz - centres[from_frame], axis=1)
    region = np.unique((time * REGION_SIDE + cell[:, 1]) * REGION_SIDE + cell[:, 0], return_inverse=True)[1]
    way = (centres[model.frame] - centres[from_frame][model.point]) / distance[model.point, None]
    way = (poses[model.frame][:, :, :3] @ way[:, :, None])[:, :, 0]
    blocks = np.zeros((len(model.point), 2, 6))
    blocks[:, 0, :3], blocks[:, 1, 3:] = model.camera.fx * way, model.camera.fy * way
    return _block_rows(blocks, region[model.point], int(region.max()) + 1), distance


def _regions(model: Model) -> tuple[IntArray, IntArray, IntArray]:
    """The middle view (P,) of each point, and its region: the cell (P, 2) there, and the time (P,)."""
    views = np.bincount(model.point, minlength=len(model.xyz))
    middle = np.minimum(np.cumsum(views) - views + views // 2, len(model.point) - 1)
    from_frame = model.frame[middle]
    cell = np.clip((model.xy[middle] / model.camera.size * REGION_SIDE).astype(np.int64), 0, REGION_SIDE - 1)
    return from_frame, cell, np.searchsorted(sorted(model.cam_from_world), from_frame) // REGION_FRAMES


def _block_rows(blocks: FloatArray, column: IntArray, columns: int) -> csr_array:
    """The sparse matrix with one block (B, h, w) a row of blocks, in the given columns of blocks."""
    count, height, width = blocks.shape
    return bsr_array((blocks, column, np.arange(count + 1)), shape=(count * height, columns * width)).tocsr()


def _cross_matrices(vectors: FloatArray) -> FloatArray:
    """Matrices (N, 3, 3) that take the cross product with vectors (N, 3) from the left."""
    return np.asarray(np.cross(vectors[:, None, :], np.eye(3)).transpose(0, 2, 1))
