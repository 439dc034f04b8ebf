"""Tracks that agree with how most others move between two frames, found without any poses."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.ops.spread import spread_positions
from dd_sfm.structures import FloatArray, Tracks

EVERY = 3
"""Every N-th frame is compared..."""
GAPS = (4, 8, 12)
"""...with those so many frames after it."""
MOST_TRACKS = 2000
"""Tracks that a pair's motion is estimated from."""
LEAST_TRACKS = 30
"""Fewer in common tell no motion."""
THRESHOLD_PX, LARGEST_PX = 1.5, 4.0
"""Epipolar error of an inlier of the estimate, and of a track that agrees with it; at an error scale of 1."""
AGREEING_SHARE = 0.8
"""Of the pairs of a track, in which it agrees."""


def agreeing_tracks(tracks: Tracks, frames: int, camera: PinholeCamera, scale: float) -> Tracks:
    """The tracks that keep to the motion of most others in nearly all pairs of frames.

    An instrument may have fewer but longer tracks than the tissue, so that it outweighs the tissue where tracks are
    chosen for a mapper. Here every track has one vote.

    Args:
        tracks: All tracks.
        frames: Number of frames.
        camera: Their camera.
        scale: Factor on the thresholds, for the size of the picture.
    """
    rows = [np.flatnonzero(tracks.frame == k) for k in range(frames)]
    agrees, tried = np.zeros(tracks.count, np.int64), np.zeros(tracks.count, np.int64)
    for first in range(0, frames, EVERY):
        for second in (first + gap for gap in GAPS if first + gap < frames):
            track, in_first, in_second = np.intersect1d(
                tracks.track[rows[first]], tracks.track[rows[second]], assume_unique=True, return_indices=True
            )
            if len(track) < LEAST_TRACKS:
                continue
            xy = tracks.xy[rows[first][in_first]], tracks.xy[rows[second][in_second]]
            agrees[track] += _agree(xy[0], xy[1], camera, scale)
            tried[track] += 1
    good = (tried > 0) & (agrees >= AGREEING_SHARE * tried)
    return tracks.where(good[tracks.track])


def _agree(xy0: FloatArray, xy1: FloatArray, camera: PinholeCamera, scale: float) -> NDArray[np.bool_]:
    """Which matches (N, 2) of two frames keep to the essential matrix that most of them have."""
    some = spread_positions(len(xy0), MOST_TRACKS)
    found, _ = cv2.findEssentialMat(
        xy0[some].astype(np.float64),
        xy1[some].astype(np.float64),
        camera.matrix,
        method=cv2.USAC_MAGSAC,
        prob=0.999,
        threshold=THRESHOLD_PX * scale,
        maxIters=500,
    )
    if found is None:
        return np.ones(len(xy0), np.bool_)
    essential = found[:3]
    ray0, ray1 = (np.column_stack([camera.normalise(xy), np.ones(len(xy))]) for xy in (xy0, xy1))
    line1, line0 = ray0 @ essential.T, ray1 @ essential
    slope = np.sqrt((line0[:, :2] ** 2).sum(1) + (line1[:, :2] ** 2).sum(1))
    sampson = np.abs((ray1 * line1).sum(1)) / np.maximum(slope, 1e-12)
    return np.asarray(sampson * camera.fx < LARGEST_PX * scale)
