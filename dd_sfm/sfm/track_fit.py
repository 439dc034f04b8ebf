"""How well poses explain all tracks: a measure by which any two models of the same frames compare."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.ops.spread import spread_positions
from dd_sfm.sfm.geometry import observation_rays, reprojection_errors_px
from dd_sfm.sfm.ray_consensus import first_points
from dd_sfm.structures import FloatArray, Tracks

LARGEST_PX = 3.0
"""Errors count up to this one, at an error scale of 1."""
MOST_TRACKS = 20_000
"""More are not looked at."""


@dataclass(frozen=True)
class TrackFit:
    """How well poses explain tracks.

    ``cost``: mean over the observations of the squared reprojection error, relative to the square of the largest one
    that counts, in [0, 1] (as in MSAC, Torr and Zisserman, CVIU 2000); ``angle_deg``: median over the tracks of the
    widest angle between two of their rays. Without tracks 1 and 0.
    """

    cost: float
    angle_deg: float


def track_fit(
    tracks: Tracks, poses: Mapping[int, FloatArray], camera: PinholeCamera, scale: float, seed: int
) -> TrackFit:
    """Triangulate tracks robustly with fixed poses, and see how far their observations are off.

    Args:
        tracks: All tracks; those that two of the frames see count.
        poses: cam_from_world (3, 4) by frame position.
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.
    """
    stacked = stack_poses(dict(poses))
    rows = np.flatnonzero(np.isin(tracks.frame, np.array(sorted(poses), np.int64)))
    views = np.bincount(tracks.track[rows], minlength=tracks.count)
    seen = np.flatnonzero(views >= 2)
    if not len(seen):
        return TrackFit(1.0, 0.0)
    rows = rows[np.isin(tracks.track[rows], seen[spread_positions(len(seen), MOST_TRACKS)])]
    number = np.cumsum(np.diff(tracks.track[rows], prepend=-1) != 0) - 1
    rays = observation_rays(number, tracks.frame[rows], tracks.xy[rows], stacked, camera)
    most = LARGEST_PX * scale
    points, cosine = first_points(
        np.append(rays.starts, len(rows)),
        tracks.frame[rows].astype(np.int64),
        rays.normalised.astype(np.float64),
        stacked,
        camera.focal,
        threshold_px=most,
        scale_px=2.0 * scale,
        hypotheses=12,
        seed=seed,
    )
    error = np.minimum(reprojection_errors_px(rays, points) / most, 1.0)
    angle = np.degrees(np.arccos(np.clip(np.median(cosine), -1.0, 1.0)))
    return TrackFit(float(np.square(error).mean()), float(angle))
