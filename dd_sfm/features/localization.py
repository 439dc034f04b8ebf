"""Frames of another video placed in a finished model, by points of it that are found in them.

A frame is compared with those of the model that look alike as a whole, and with those that matched the frame before
it. The model's points that are found in it give its pose, with which the model's frames nearest to that view are
matched, too. A pose counts where points of several frames of the model agree with it and tell the place.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from dd_sfm.cameras import PinholeCamera, camera_centres, stack_poses, world_to_camera
from dd_sfm.features.match import Matcher
from dd_sfm.features.model_views import FULL_POINTS, MATCHES_FROM, PROBE_POINTS, ModelViews
from dd_sfm.progress import Progress
from dd_sfm.runtime import workers
from dd_sfm.sfm.registration import resected
from dd_sfm.sfm.side_poses import place_sigma
from dd_sfm.structures import FloatArray, IntArray

logger = logging.getLogger(__name__)

ALIKE = 8
"""Frames of the model that look most like a frame and are probed, ..."""
APART = 3
"""...no two of them nearer to each other than so many frames."""
HINTS = 4
"""Frames of the model that matched the frame before and are probed first."""
MATCHED = 4
"""Frames of the model that are matched with a frame in full, and as many again by its first pose."""
POSE_PX = 4.0
"""Largest reprojection error of a point that agrees, in pixels of a field of view 1000 high."""
FEWEST_POINTS = 40
"""Points that agree with a pose, ..."""
FEWEST_OF_FRAME, LEAST_SHARE = 12, 0.3
"""...of a frame of the model, as a number and as a share of those matched, so that the frame supports the pose."""
LONE_POINTS, LONE_SHARE = 200, 0.6
"""The same where one frame of the model alone supports it."""
MOST_SIGMA = 0.1
"""Largest standard deviation of a place, in units of the median distance of the points."""
USUAL_SIGMA = 0.03
"""A place that is known as badly as this halves the confidence in it, about."""
STEPS = 6.0
"""A frame lies at most so many usual steps from where those before and after it put it."""
WINDOW = 3
"""Frames before and after one that tell where it is expected."""

NOTHING_ALIKE = "shows no tissue that the model does"
FEW_AGREE = "too few points of the model agree with a pose"
UNSURE = "its points do not tell its place"
JUMPS = "its place is far from those of the frames before and after it"


@dataclass(frozen=True)
class Found:
    """Points of the model found in a frame: by frame of the model ``own`` (N,), ``track`` (N,), ``xyz``, ``xy``."""

    own: IntArray
    track: IntArray
    xyz: FloatArray
    xy: FloatArray

    @classmethod
    def together(cls, parts: Sequence["Found"]) -> "Found":
        """Several as one."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 2)))
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("own", "track", "xyz", "xy")))

    def where(self, keep: FloatArray) -> "Found":
        """Those under a mask."""
        return Found(self.own[keep], self.track[keep], self.xyz[keep], self.xy[keep])


@dataclass(frozen=True)
class Placed:
    """A frame's pose (3, 4) in the model, and what speaks for it.

    ``agreeing``: points that agree, one row a point; ``matches``: how many were found in it; ``supporting``: the frames
    of the model whose points agree; ``sigma``: standard deviation of its place, in the model's unit, and ``distance``
    the median one of the points; ``confidence``: in [0, 1].
    """

    cam_from_world: FloatArray
    agreeing: Found
    matches: int
    supporting: tuple[int, ...]
    sigma: float
    distance: float
    confidence: float

    @property
    def inliers(self) -> int:
        """How many points agree with it."""
        return len(self.agreeing.track)


@dataclass(frozen=True)
class Placement:
    """What became of each frame: its pose, or why it has none, by position."""

    placed: dict[int, Placed]
    reasons: dict[int, str]


class FramePlacer:
    """Places frames in a model.

    Args:
        known: The model and its frames.
        matcher: Of the frames to be placed.
        pooled: Their descriptors as a whole (F, E).
        camera: Their camera.
        scale: Factor on thresholds in pixels, of these frames.
    """

    def __init__(
        self, known: ModelViews, matcher: Matcher, pooled: Tensor, camera: PinholeCamera, scale: float
    ) -> None:
        self.known, self.matcher, self.camera, self.scale = known, matcher, camera, scale
        self.positions = np.array(sorted(known.poses), np.int64)
        self.similarity = (pooled @ known.pooled[self.positions.tolist()].t()).numpy()

    def place_all(self, progress: Progress) -> Placement:
        """Place all frames, in their order, then those left again by what their neighbours matched."""
        placed, reasons = dict[int, Placed](), dict[int, str]()
        count = len(self.similarity)
        with workers(self.matcher.device) as pool:
            for frame in progress(range(count), total=count, label="localize"):
                self._place(pool, frame, placed.get(frame - 1), placed, reasons)
            for frame in reversed(range(count - 1)):
                if frame not in placed and frame + 1 in placed:
                    self._place(pool, frame, placed[frame + 1], placed, reasons)
        for frame in [frame for piece in self.matcher.frames.pieces for frame in out_of_line(placed, piece)]:
            del placed[frame]
            reasons[frame] = JUMPS
        logger.info("localize: %d of %d frames have a pose", len(placed), count)
        return Placement(placed, reasons)

    def _place(
        self,
        pool: ThreadPoolExecutor,
        frame: int,
        neighbour: Placed | None,
        placed: dict[int, Placed],
        reasons: dict[int, str],
    ) -> None:
        found = self._placed(pool, frame, neighbour)
        if isinstance(found, Placed):
            placed[frame] = found
            reasons.pop(frame, None)
        else:
            reasons[frame] = found

    def _placed(self, pool: ThreadPoolExecutor, frame: int, neighbour: Placed | None) -> "Placed | str":
        """The pose of a frame, or why there is none."""
        hints = list(neighbour.supporting[:HINTS]) if neighbour else []
        tried = list(dict.fromkeys([*hints, *self._alike(frame)]))
        ratios = dict(zip(tried, pool.map(lambda own: self._ratio(own, frame), tried), strict=True))
        best = sorted((own for own in tried if ratios[own] >= MATCHES_FROM), key=lambda own: -ratios[own])[:MATCHED]
        if not best:
            return NOTHING_ALIKE
        matched = list(pool.map(lambda own: self._points(own, frame), best))
        first = self._pose(Found.together(matched))
        if isinstance(first, str):
            return first
        more = [own for own in self._nearest(first.cam_from_world) if own not in best][:MATCHED]
        matched += pool.map(lambda own: self._points(own, frame), more)
        second = self._pose(Found.together(matched))
        if isinstance(second, str):
            return second
        return self._checked(second)

    def _alike(self, frame: int) -> list[int]:
        """Frames of the model that look most like a frame, some apart from each other."""
        chosen: list[int] = []
        for rank in np.argsort(-self.similarity[frame], kind="stable").tolist():
            if all(abs(rank - other) >= APART for other in chosen):
                chosen.append(rank)
            if len(chosen) == ALIKE:
                break
        return [int(position) for position in self.positions[chosen]]

    def _ratio(self, own: int, frame: int) -> float:
        xy = self.known.queries(own, PROBE_POINTS)[1]
        return self.known.matcher.match(own, frame, xy, self.matcher).inlier_ratio if len(xy) else 0.0

    def _points(self, own: int, frame: int) -> Found:
        """Points of a frame of the model that are found in a frame."""
        track, xy, xyz = self.known.queries(own, FULL_POINTS)
        match = self.known.matcher.match(own, frame, xy, self.matcher)
        there = self.matcher.maps.grid.to_source(match.xy.astype(np.float64))
        return Found(np.full(len(there), own), track[match.query], xyz[match.query], there)

    @cached_property
    def _views(self) -> tuple[FloatArray, FloatArray]:
        """Centres (F, 3) and directions (F, 3) of the model's frames."""
        poses = stack_poses({rank: self.known.poses[int(k)] for rank, k in enumerate(self.positions)})
        return camera_centres(poses), poses[:, 2, :3]

    def _nearest(self, pose: FloatArray) -> list[int]:
        """Frames of the model in the order of how near their view is to a pose."""
        centres, directions = self._views
        away = np.linalg.norm(centres - camera_centres(pose[None])[0], axis=1)
        step = np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1)) if len(centres) > 1 else 1.0
        turned = np.degrees(np.arccos(np.clip(directions @ pose[2, :3], -1, 1)))
        # Ten steps of the scope change a view about as much as turning it by twenty degrees.
        rank = np.argsort(away / max(10 * step, 1e-12) + turned / 20, kind="stable")
        return [int(k) for k in self.positions[rank[:: max(1, min(APART, len(rank) // MATCHED))]]]

    def _pose(self, found: Found) -> "Placed | str":
        pose, inliers = resected(found.xy, found.xyz, self.camera, POSE_PX * self.scale, self.known.seed)
        if pose is None or inliers < FEWEST_POINTS:
            return FEW_AGREE
        projected, depth = self.camera.project(world_to_camera(found.xyz, pose))
        errors = np.where(depth > 1e-9, np.linalg.norm(projected - found.xy, axis=1), np.inf)
        agrees = errors < POSE_PX * self.scale
        frames, where = np.unique(found.own, return_inverse=True)
        counts, good = np.bincount(where), np.bincount(where[agrees], minlength=len(frames))
        supports = (good >= FEWEST_OF_FRAME) & (good >= LEAST_SHARE * counts)
        keep = agrees & supports[where]
        share = float(good[supports].sum() / max(1, counts[supports].sum()))
        once = np.unique(found.track[keep], return_index=True)[1]
        agreeing = found.where(np.flatnonzero(keep)[once])
        if len(agreeing.track) < FEWEST_POINTS:
            return FEW_AGREE
        local = world_to_camera(agreeing.xyz, pose)
        median_px = float(np.median(errors[keep]))
        order = np.argsort(-good[supports], kind="stable")
        return Placed(
            pose,
            agreeing,
            len(found.track),
            tuple(frames[supports][order].tolist()),
            place_sigma(local, self.camera.focal, median_px),
            float(np.median(local[:, 2])),
            share,
        )

    def _checked(self, placed: Placed) -> "Placed | str":
        """A pose with its confidence, unless too little speaks for it."""
        is_lone = len(placed.supporting) < 2 <= len(self.positions)
        if is_lone and (placed.inliers < LONE_POINTS or placed.confidence < LONE_SHARE):
            return FEW_AGREE
        off = placed.sigma / placed.distance
        if not off <= MOST_SIGMA:
            return UNSURE
        known = float(np.exp(-((off / USUAL_SIGMA) ** 2) / 2))
        return replace(placed, confidence=round(placed.confidence * known, 3))


def out_of_line(placed: Mapping[int, Placed], piece: range) -> list[int]:
    """Frames of a piece whose place is not where those before and after them put it.

    What each frame before with each frame after it predicts is taken together by the median: one that is wrong itself
    does not move it.
    """
    positions = [position for position in piece if position in placed]
    if len(positions) < 2 * WINDOW + 1:
        return []
    centres = camera_centres(stack_poses({k: placed[p].cam_from_world for k, p in enumerate(positions)}))
    at = np.array(positions, np.float64)
    step = float(np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1) / np.diff(at)))
    found = []
    for k in range(1, len(positions) - 1):
        before, after = range(max(0, k - WINDOW), k), range(k + 1, min(len(positions), k + WINDOW + 1))
        expected = [
            centres[i] + (at[k] - at[i]) / (at[j] - at[i]) * (centres[j] - centres[i]) for i in before for j in after
        ]
        away = float(np.linalg.norm(np.median(expected, axis=0) - centres[k]))
        gap = (at[k + 1] - at[k - 1]) / 2
        if away > STEPS * max(gap * step, placed[positions[k]].sigma):
            found.append(positions[k])
    return found
