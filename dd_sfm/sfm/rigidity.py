"""Whether the scene held still: tissue that moves fits points of a few frames in a row, and no longer those of all."""

from collections.abc import Mapping

import numpy as np

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.sfm.track_fit import has_views, some_tracks, track_errors
from dd_sfm.structures import FloatArray, Tracks

NEAR_FRAMES = 6
"""Registered frames in a row in which tissue has hardly moved."""
LEAST_WINDOWS = 3
"""Of so many frames each; fewer tell nothing."""
LEAST_VIEWS = 3
"""Of a point, in all frames and in a few: two views nearly always agree."""
LEAST_OBSERVATIONS = 1000
MOST_TRACKS = 20_000
LARGEST_GROWTH = 1.7
"""Where the scene held still the residual has grown less."""


def residual_growth(
    tracks: Tracks, poses: Mapping[int, FloatArray], camera: PinholeCamera, scale: float, seed: int
) -> float | None:
    """How many times larger residuals are against points of all views than against those of a few frames in a row.

    Noise alone makes it 1.1 or so, matches that drift along the path 1.3 to 1.6; tissue that moves, poses that bend,
    and a camera that does not fit make it more.

    Args:
        tracks: All tracks.
        poses: cam_from_world (3, 4) by frame position, adjusted to the tracks.
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.

    Returns:
        The ratio of the medians over the same observations; None where too few frames or observations tell it.
    """
    positions = np.array(sorted(poses), np.int64)
    if len(positions) < LEAST_WINDOWS * NEAR_FRAMES:
        return None
    rows = np.flatnonzero(np.isin(tracks.frame, positions))
    track = tracks.track[rows].astype(np.int64)
    # A track's observations are in the order of the frames: its parts are, too.
    windows = len(positions) // NEAR_FRAMES + 1
    part = track * windows + np.searchsorted(positions, tracks.frame[rows]) // NEAR_FRAMES
    told = has_views(part, LEAST_VIEWS)
    rows, track, part = rows[told], track[told], part[told]
    some = some_tracks(track, MOST_TRACKS)
    rows, track, part = rows[some], track[some], part[some]
    if len(rows) < LEAST_OBSERVATIONS:
        return None
    stacked = stack_poses(dict(poses))
    medians = []
    for grouped in (track, part):
        errors, _ = track_errors(grouped, tracks.frame[rows], tracks.xy[rows], stacked, camera, scale, seed)
        medians.append(float(np.median(errors)))
    return medians[0] / max(medians[1], 1e-9)
