"""Frames of a model matched with frames of another one, and where each model's points are seen in the other's frames.

Both may be of one run or of two, whose frames then have working images and lenses of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.features.match import Matcher
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.spread import spread_over
from dd_sfm.sfm.mappers import Poses
from dd_sfm.sfm.model_relation import Sightings
from dd_sfm.structures import FloatArray, IntArray

MOST_OF_FRAME = 6
"""Pairs of one frame that are probed."""
MOST_ALIKE = 300
"""Frames of a model, evenly spread, whose likeness to those of the other one is looked at."""
SEGMENTS = 6
"""So many parts of a model are compared with each part of the other one, the most alike frames of each first."""
MATCHES_FROM = 0.08
"""Inlier ratio of a probe, either way, from which on two frames may show the same tissue; of others it is 0."""
PROBE_POINTS = 200
FULL_POINTS = 1500
"""Points of a frame that are searched in one of the other model."""
MOST_FULL = 16
"""Pairs of frames of two models that are matched in full."""
NEAR = (-4, -2, -1, 1, 2, 4)
"""Steps from the frames of a pair that matches to those that are probed next."""
DEPTH_WITHIN_PX, DEPTH_SPREAD = 12.0, 0.1
"""A depth is known where tracks so near, in pixels of a field of view 1000 high, have depths alike to this share."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class ModelViews:
    """A model and its frames, as they are matched with those of another one.

    ``matcher``: of the run that the frames are of; ``pooled`` (F, E): unit-norm descriptors of its frames as a whole;
    ``poses``, ``camera``: of the model; ``track`` (O,), ``xy`` (O, 2): which track is seen where, in ``rows`` by frame;
    ``number`` (P,), sorted, and ``xyz`` (P, 3): the tracks with a point; ``scale``: factor on thresholds in pixels;
    ``seed``: of random choices.
    """

    matcher: Matcher
    pooled: Tensor
    poses: Poses
    camera: PinholeCamera
    track: IntArray
    xy: FloatArray
    rows: FrameRows
    number: IntArray
    xyz: FloatArray
    scale: float
    seed: int

    def points_of(self, track: IntArray) -> tuple[IntArray, FloatArray]:
        """Of track numbers, which rows have a point, and these points."""
        place = np.searchsorted(self.number, track).clip(max=max(0, len(self.number) - 1))
        rows = np.flatnonzero(self.number[place] == track) if len(self.number) else np.zeros(0, np.int64)
        return rows, self.xyz[place[rows]]

    def queries(self, frame: int, most: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Tracks (N,) that a frame sees, where, in working pixels (N, 2), and their points (N, 3); at most so many."""
        own = self.rows.of(frame)
        known, xyz = self.points_of(self.track[own])
        chosen = np.sort(np.random.default_rng([self.seed, frame]).permutation(len(known))[:most])
        own, xyz = own[known[chosen]], xyz[chosen]
        xy = self.matcher.maps.grid.to_working(self.xy[own]).astype(np.float32)
        return self.track[own], xy, xyz

    def ratio(self, frame: int, other: "ModelViews", theirs: int) -> float:
        """The inlier ratio of a few points of a frame in a frame of another model."""
        xy = self.queries(frame, PROBE_POINTS)[1]
        return self.matcher.match(frame, theirs, xy, other.matcher).inlier_ratio if len(xy) else 0.0

    def depths(self, frame: int, xy: FloatArray) -> FloatArray:
        """What the model has for the depth of places (N, 2) of a frame, NaN where it has none."""
        own = self.rows.of(frame)
        known, xyz = self.points_of(self.track[own])
        if len(known) < 3 or not len(xy):
            return np.full(len(xy), np.nan)
        z = world_to_camera(xyz, self.poses[frame])[:, 2]
        nearest = cKDTree(self.xy[own[known]]).query(xy, k=3)
        distance, depths = np.asarray(nearest[0]), z[np.asarray(nearest[1])]
        middle = np.median(depths, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            is_known = (distance[:, -1] <= DEPTH_WITHIN_PX * self.scale) & (middle > 0)
            is_known &= np.ptp(depths, axis=1) <= DEPTH_SPREAD * middle
        return np.where(is_known, middle, np.nan)

    def sees(self, other: "ModelViews", pairs: Iterable[Pair]) -> Sightings:
        """Points of another model in frames of this one, by pairs (own, other) that are matched in full."""
        found = []
        for own, theirs in pairs:
            track, xy, xyz = other.queries(theirs, FULL_POINTS)
            if not len(xy):
                continue
            match = other.matcher.match(theirs, own, xy, self.matcher)
            there = self.matcher.maps.grid.to_source(match.xy.astype(np.float64))
            depth = self.depths(own, there)
            found.append(Sightings(np.full(len(there), own), track[match.query], xyz[match.query], there, depth))
        return together(found)


def together(parts: Sequence[Sightings]) -> Sightings:
    """Several sightings as one."""
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Sightings(nothing, nothing, np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))
    names = ("frame", "track", "xyz", "xy", "depth")
    columns: Mapping[str, FloatArray] = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    return Sightings(**columns)


def matching_pairs(first: ModelViews, second: ModelViews, most: int) -> tuple[list[Pair], int]:
    """Pairs of frames of two models that match, the best first, and how many were probed, ``most`` of them at most.

    Frames that look alike as a whole are tried first, then those around pairs that match.
    """
    ours, theirs = (spread_over(sorted(views.poses), MOST_ALIKE) for views in (first, second))
    similarity = (first.pooled[ours] @ second.pooled[theirs].t()).numpy()
    ratios: dict[Pair, float] = {}
    uses: tuple[dict[int, int], dict[int, int]] = {}, {}
    left = most // 2

    def probe(pairs: Iterable[Pair], most: int) -> None:
        nonlocal left
        for a, b in pairs:
            if left == 0:
                return
            if (a, b) in ratios or max(uses[0].get(a, 0), uses[1].get(b, 0)) >= most:
                continue
            left -= 1
            uses[0][a], uses[1][b] = uses[0].get(a, 0) + 1, uses[1].get(b, 0) + 1
            ratios[a, b] = second.ratio(b, first, a)
            if ratios[a, b] < MATCHES_FROM:
                # Of a frame from further away only a part is seen from near.
                ratios[a, b] = max(ratios[a, b], first.ratio(a, second, b))

    alike = [(int(ours[i]), int(theirs[j])) for i, j in _by_segments(similarity)]
    probe(alike, MOST_OF_FRAME // 2)
    left += most // 2
    for (a, b), ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        if ratio >= MATCHES_FROM:
            near = [(a + s, b + t) for s in (0, *NEAR) for t in (0, *NEAR)]
            probe([(x, y) for x, y in near if x in first.poses and y in second.poses], MOST_OF_FRAME)
    good = sorted((pair for pair, ratio in ratios.items() if ratio >= MATCHES_FROM), key=lambda p: -ratios[p])
    return _spread(good, MOST_FULL), len(ratios)


def _by_segments(similarity: FloatArray) -> list[Pair]:
    """Rows and columns of a table, the largest of each of its blocks first, then the second largest, and so on."""
    order = np.argsort(-similarity, axis=None, kind="stable")
    rows, columns = np.unravel_index(order, similarity.shape)
    height, width = similarity.shape
    block = rows * SEGMENTS // height * SEGMENTS + columns * SEGMENTS // width
    by_block = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[by_block], np.arange(SEGMENTS**2))
    rank = np.empty(len(order), np.int64)
    rank[by_block] = np.arange(len(order)) - starts[block[by_block]]
    chosen = np.argsort(rank, kind="stable")
    return list(zip(rows[chosen].tolist(), columns[chosen].tolist(), strict=True))


def _spread(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """At most so many pairs, the first ones, no frame more often than needed."""
    chosen: list[Pair] = []
    for limit in range(1, most + 1):
        for pair in pairs:
            uses = max(sum(pair[k] == other[k] for other in chosen) for k in (0, 1)) if chosen else 0
            if len(chosen) < most and pair not in chosen and uses < limit:
                chosen.append(pair)
    return chosen
