"""How far the matches of two frames agree with the model's poses, set against the pose that they would choose alone.

A wrong frame keeps small reprojection errors: the mapper drops what does not fit. Here all matches count, and those
that the mapper was not given before the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dd_sfm.cameras import PinholeCamera, relative_pose
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.spread import spread_positions
from dd_sfm.structures import FloatArray, IntArray, Tracks

OFFSETS = (1, 2, 3, 4, 6, 8, 12)
"""A frame is compared with the registered ones so many places after it..."""
OTHERS = 3
"""...and with so many more, those that share the most tracks with it: over loops and over cuts."""
MOST_MATCHES = 300
"""Matches of a pair that are looked at."""
COMPARED_TRACKS = 1000
"""About so many tracks of each frame tell which ones share the most."""
LEAST_MATCHES = 15
"""Fewer matches that agree with one pose may do so by chance..."""
LEAST_SHARE = 0.5
"""...and so may a smaller share of them."""
THRESHOLD_PX, MAGSAC_PX = 3.0, 1.5
"""Epipolar error of a match that agrees, and the spread that MAGSAC takes for right ones; at an error scale of 1."""
CLEAR_SHARE = 0.8
"""Where so many matches agree with the model no other pose is looked for."""
LEAST_ANGLE = np.radians(0.3)
"""Between nearly parallel rays a match may seem to lie behind the cameras."""


@dataclass(frozen=True)
class PairSupport:
    """Matches of two frames, ``first`` < ``second`` by position.

    ``matches``: those looked at; ``agreeing``: with the model's poses; ``best``: with the relative pose that most of
    them have in common, at least ``agreeing``.
    """

    first: int
    second: int
    matches: int
    agreeing: int
    best: int

    @property
    def tells(self) -> bool:
        """Whether enough matches have a pose in common to say anything."""
        return self.best >= LEAST_MATCHES and self.best >= LEAST_SHARE * self.matches


def pair_supports(
    tracks: Tracks,
    held_out: NDArray[np.bool_],
    poses: Mapping[int, FloatArray],
    camera: PinholeCamera,
    scale: float,
) -> list[PairSupport]:
    """Compare a model with the matches of its frames; pairs that tell nothing are left out.

    Args:
        tracks: All tracks.
        held_out: Which tracks (T,) the mapper was not given: of a pair that has enough of them these alone count.
        poses: cam_from_world (3, 4) by frame position.
        camera: The camera.
        scale: Factor on thresholds in pixels.
    """
    found = []
    for first, second, xy0, xy1 in _matched_pairs(tracks, held_out, sorted(poses)):
        ray0, ray1 = (np.column_stack([camera.normalise(xy), np.ones(len(xy))]) for xy in (xy0, xy1))
        threshold = THRESHOLD_PX * scale / camera.fx
        agreeing = int(agree(ray0, ray1, relative_pose(poses[second], poses[first]), threshold).sum())
        best = agreeing
        if agreeing < CLEAR_SHARE * len(xy0):
            free = free_pose(ray0, ray1, MAGSAC_PX * scale / camera.fx)
            if free is not None:
                best = max(best, int(agree(ray0, ray1, free, threshold).sum()))
        support = PairSupport(first, second, len(xy0), agreeing, best)
        if support.tells:
            found.append(support)
    return found


def _matched_pairs(
    tracks: Tracks, held_out: NDArray[np.bool_], positions: list[int]
) -> Iterator[tuple[int, int, FloatArray, FloatArray]]:
    """Pairs of frames by position, and where their matches (N, 2) are in both."""
    numbers: IntArray = np.array(positions, np.int64)
    rows = np.flatnonzero(np.isin(tracks.frame, numbers))
    rank = np.searchsorted(numbers, tracks.frame[rows])
    by_rank = FrameRows(rank)
    own = [rows[by_rank.of(k)] for k in range(len(numbers))]
    for first, second in _chosen_pairs(rank, tracks.track[rows], len(numbers)):
        one, other = own[first], own[second]
        _, a, b = np.intersect1d(tracks.track[one], tracks.track[other], assume_unique=True, return_indices=True)
        if len(a) < LEAST_MATCHES:
            continue
        unseen = np.flatnonzero(held_out[tracks.track[one[a]]])
        used = unseen if len(unseen) >= LEAST_MATCHES else np.arange(len(a))
        some = used[spread_positions(len(used), MOST_MATCHES)]
        yield positions[first], positions[second], tracks.xy[one[a[some]]], tracks.xy[other[b[some]]]


def _chosen_pairs(rank: IntArray, track: IntArray, count: int) -> list[tuple[int, int]]:
    """Pairs of registered frames that are near each other, or share many tracks, by rank; ``track`` ascending."""
    pairs = {(first, first + step) for step in OFFSETS for first in range(count - step)}
    some = _thinned(rank, track, count)
    rank, track = rank[some], track[some]
    seen = csr_array((np.ones(len(rank), np.int32), (rank, track)), shape=(count, int(track.max(initial=0)) + 1))
    common = (seen @ seen.T).tocoo()
    is_far = common.col - common.row > max(OFFSETS)
    first, second, shared = common.row[is_far], common.col[is_far], common.data[is_far]
    for side in (first, second):
        order = np.lexsort((-shared, side))
        place = np.arange(len(order)) - np.searchsorted(side[order], side[order])
        best = order[place < OTHERS]
        pairs |= set(zip(first[best].tolist(), second[best].tolist(), strict=True))
    return sorted(pairs)


def _thinned(rank: IntArray, track: IntArray, count: int) -> IntArray:
    """Rows of some tracks, chosen at random, so that each frame keeps at least :data:`COMPARED_TRACKS` or all."""
    share = np.minimum(1.0, COMPARED_TRACKS / np.maximum(np.bincount(rank, minlength=count), 1))
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    if not len(starts):
        return starts
    is_kept = np.random.default_rng(0).random(len(starts)) < np.maximum.reduceat(share[rank], starts)
    return np.flatnonzero(np.repeat(is_kept, np.diff(np.append(starts, len(track)))))


def agree(ray0: FloatArray, ray1: FloatArray, pose: FloatArray, threshold: float) -> NDArray[np.bool_]:
    """Which matches agree with a pose: with a small epipolar (Sampson) error, before both cameras, or without parallax.

    Args:
        ray0: Where they are in one frame (N, 3), at depth 1.
        ray1: The same in another one.
        pose: From the axes of the one to those of the other (3, 4).
        threshold: Largest error at depth 1.
    """
    turned = ray0 @ pose[:, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        still = np.linalg.norm(turned[:, :2] / turned[:, 2:] - ray1[:, :2], axis=1) < threshold
    still &= turned[:, 2] > 0
    length = float(np.linalg.norm(pose[:, 3]))
    if length < 1e-12:
        return np.asarray(still)
    shift = pose[:, 3] / length
    line1, line0 = np.cross(shift, turned), -np.cross(shift, ray1) @ pose[:, :3]
    slope = np.sqrt((line0[:, :2] ** 2).sum(1) + (line1[:, :2] ** 2).sum(1))
    near = np.abs((ray1 * line1).sum(1)) < threshold * np.maximum(slope, 1e-12)
    # Where the rays come nearest to each other, depth0 * turned + shift ~ depth1 * ray1.
    aa, bb, ab = (turned * turned).sum(1), (ray1 * ray1).sum(1), (turned * ray1).sum(1)
    at, bt = turned @ shift, ray1 @ shift
    before = (ab * bt - bb * at > 0) & (aa * bt - ab * at > 0)
    parallel = (aa * bb - ab * ab < np.sin(LEAST_ANGLE) ** 2 * aa * bb) & (ab > 0)
    return np.asarray((near & (before | parallel)) | still)


def free_pose(ray0: FloatArray, ray1: FloatArray, threshold: float) -> FloatArray | None:
    """The relative pose (3, 4) of two cameras by their matches alone, as :func:`agree` takes it; None without one."""
    one, other = (np.ascontiguousarray(ray[:, :2], np.float64) for ray in (ray0, ray1))
    found, _ = cv2.findEssentialMat(
        one, other, np.eye(3), method=cv2.USAC_MAGSAC, prob=0.999, threshold=threshold, maxIters=500
    )
    if found is None or len(found) < 3:
        return None
    _, rotation, shift, _ = cv2.recoverPose(found[:3], one, other, np.eye(3))
    return np.column_stack([rotation, shift])
