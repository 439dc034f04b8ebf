"""Where a frame is by points that frames before it alone, or after it alone, have measured.

Two frames tell no scale, and a model that bends at one frame keeps every pair before and after it. Both show when a
frame is placed by what one side alone has measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dd_sfm.cameras import PinholeCamera, camera_centres, stack_poses, world_to_camera
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.spread import spread_positions
from dd_sfm.sfm.ray_consensus import first_points
from dd_sfm.sfm.registration import resected
from dd_sfm.structures import FloatArray, IntArray, Tracks

WINDOW = 12
"""Registered frames of a side that measure points."""
MOST_POINTS = 300
LEAST_POINTS = 12
"""Fewer tell no pose..."""
LEAST_SHARE = 0.5
"""...nor does one that fewer of them agree with."""
LEAST_ANGLE_DEG = 1.0
"""Between two of a point's rays."""
POINT_PX, POSE_PX = 3.0, 6.0
"""Largest error of a point's observations, in the mean, and of what agrees with a pose; at an error scale of 1."""
INFLATION = 2.0
"""Errors of points are alike over parts of a picture: a place is so much less sure than independent ones make it."""


@dataclass(frozen=True)
class SidePose:
    """A frame's place by the points of one side.

    ``frame``: its position; ``is_after``: whether the points are those of frames after it; ``points``: how many it
    sees; ``agreeing``, ``best``: those that agree with the model's pose, and with the one found; ``away``: distance
    between the two; ``sigma``: standard deviation of the place found.
    """

    frame: int
    is_after: bool
    points: int
    agreeing: int
    best: int
    away: float
    sigma: float

    @property
    def tells(self) -> bool:
        """Whether enough points agree with the pose found to say anything."""
        return self.best >= LEAST_POINTS and self.best >= LEAST_SHARE * self.points

    @property
    def off(self) -> float:
        """How far the model's place may be off by these points: by what was found, and by what that itself is."""
        return float(np.hypot(self.away, self.sigma))


class SidePoses:
    """Places frames by one side of them.

    Args:
        tracks: Where points are seen.
        poses: cam_from_world (3, 4) by frame position.
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.
    """

    def __init__(
        self, tracks: Tracks, poses: Mapping[int, FloatArray], camera: PinholeCamera, scale: float, seed: int
    ) -> None:
        self.camera, self.scale, self.seed = camera, scale, seed
        self.positions = np.array(sorted(poses), np.int64)
        self.poses = stack_poses({rank: poses[int(k)] for rank, k in enumerate(self.positions)})
        self.centres = camera_centres(self.poses)
        rows = np.flatnonzero(np.isin(tracks.frame, self.positions))
        self.track, self.xy = tracks.track[rows], tracks.xy[rows].astype(np.float64)
        self.rank = np.searchsorted(self.positions, tracks.frame[rows])
        self.normalised = camera.normalise(self.xy)
        self._bounds = np.searchsorted(self.track, np.arange(tracks.count + 1))
        self._own = FrameRows(self.rank)

    def of(self, positions: Sequence[int], wanted: Iterable[tuple[int, bool]]) -> list[SidePose]:
        """Places by frames of a part of the model alone, those that tell anything.

        Args:
            positions: Of the frames of the part, ascending.
            wanted: Which of them are placed, by their number in ``positions``, and whether by those after them.
        """
        ranks, found = np.searchsorted(self.positions, positions), []
        for number, is_after in wanted:
            others = ranks[number + 1 : number + 1 + WINDOW] if is_after else ranks[max(0, number - WINDOW) : number]
            side = self.pose(int(ranks[number]), others) if len(others) >= 2 else None
            if side is not None and side.tells:
                found.append(side)
        return found

    def pose(self, rank: int, others: Sequence[int] | IntArray) -> SidePose | None:
        """The place of one frame by some others, by their ranks among all, ascending; None where there is none."""
        own = self._own.of(rank)
        rows, number = self._seen(own, others)
        counts = np.bincount(number, minlength=len(own))
        chosen = np.flatnonzero(counts >= 2)
        chosen = chosen[spread_positions(len(chosen), 2 * MOST_POINTS)]
        keep = np.isin(number, chosen)
        rows, number = rows[keep], number[keep]
        starts = np.append(np.flatnonzero(np.diff(number, prepend=-1)), len(number))
        points, cosine = first_points(
            starts,
            self.rank[rows] - others[0],
            self.normalised[rows],
            self.poses[others[0] : others[-1] + 1],
            self.camera.focal,
            threshold_px=2 * POINT_PX * self.scale,
            scale_px=2.0 * self.scale,
            hypotheses=6,
            seed=self.seed,
        )
        sharp = self._mean_errors(points, rows, starts) <= POINT_PX * self.scale
        good = np.flatnonzero(sharp & (cosine <= np.cos(np.radians(LEAST_ANGLE_DEG))))
        good = good[spread_positions(len(good), MOST_POINTS)]
        if len(good) < LEAST_POINTS:
            return None
        return self._compared(rank, bool(others[0] > rank), points[good], self.xy[own[chosen[good]]])

    def _seen(self, own: IntArray, others: Sequence[int] | IntArray) -> tuple[IntArray, IntArray]:
        """Rows in which some others see the tracks of a frame's rows, and for each the number of the row it is of."""
        first, end = self._bounds[self.track[own]], self._bounds[self.track[own] + 1]
        lengths = end - first
        number = np.repeat(np.arange(len(own)), lengths)
        rows = np.arange(len(number)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        is_other = np.zeros(len(self.positions), np.bool_)
        is_other[others] = True
        inside = is_other[self.rank[rows]]
        return rows[inside], number[inside]

    def _mean_errors(self, points: FloatArray, rows: IntArray, starts: IntArray) -> FloatArray:
        if not len(points):
            return np.zeros(0)
        lengths = np.diff(starts)
        local = world_to_camera(np.repeat(points, lengths, axis=0), self.poses[self.rank[rows]])
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.linalg.norm((local[:, :2] / local[:, 2:] - self.normalised[rows]) * self.camera.focal, axis=1)
        return np.asarray(np.add.reduceat(np.where(local[:, 2] > 1e-9, error, np.inf), starts[:-1]) / lengths)

    def _compared(self, rank: int, is_after: bool, points: FloatArray, xy: FloatArray) -> SidePose | None:
        most, held = POSE_PX * self.scale, self.poses[rank]
        pose, _ = resected(xy, points, self.camera, most, self.seed)
        if pose is None:
            return None
        agrees, errors = self._errors(points, xy, held) < most, self._errors(points, xy, pose)
        inliers = errors < most
        if inliers.sum() < LEAST_POINTS:
            return None
        median_px = float(np.median(errors[inliers]))
        sigma = place_sigma(world_to_camera(points[inliers], pose), self.camera.focal, median_px)
        away = float(np.linalg.norm(camera_centres(pose[None])[0] - self.centres[rank]))
        return SidePose(
            int(self.positions[rank]), is_after, len(points), int(agrees.sum()), int(inliers.sum()), away, sigma
        )

    def _errors(self, points: FloatArray, xy: FloatArray, pose: FloatArray) -> FloatArray:
        projected, depth = self.camera.project(world_to_camera(points, pose))
        return np.where(depth > 1e-9, np.linalg.norm(projected - xy, axis=1), np.inf)


def place_sigma(local: FloatArray, focal: FloatArray, median_px: float) -> float:
    """Standard deviation of a camera's place by points (N, 3) in its axes and the median error of their projections."""
    x, y, z = local.T
    zero = np.zeros(len(z))
    fx, fy = focal
    along = np.stack([np.stack([fx / z, zero, -fx * x / z**2], 1), np.stack([zero, fy / z, -fy * y / z**2], 1)], 1)
    # Turning the camera moves its points across their directions, shifting it moves them the other way.
    across = np.zeros((len(z), 3, 3))
    across[:, 0, 1], across[:, 0, 2], across[:, 1, 2] = z, -y, x
    jacobian = np.concatenate([along @ (across - across.transpose(0, 2, 1)), -along], 2).reshape(-1, 6)
    # The median length of two independent errors is 1.18 times the standard deviation of one of them.
    covariance = np.linalg.pinv(jacobian.T @ jacobian, hermitian=True)[3:, 3:] * (median_px / 1.18) ** 2
    return float(INFLATION * np.sqrt(np.trace(covariance)))
