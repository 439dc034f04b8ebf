"""How well poses explain all tracks: a measure by which any two models of the same frames compare."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.ops.spread import spread_positions
from dd_sfm.sfm.geometry import observation_rays, reprojection_residuals_px
from dd_sfm.sfm.ray_consensus import first_points
from dd_sfm.structures import FloatArray, IntArray, Tracks

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
    rows = np.flatnonzero(np.isin(tracks.frame, np.array(sorted(poses), np.int64)))
    rows = rows[has_views(tracks.track[rows], 2)]
    if not len(rows):
        return TrackFit(1.0, 0.0)
    rows = rows[some_tracks(tracks.track[rows], MOST_TRACKS)]
    stacked = stack_poses(dict(poses))
    residual, cosine = track_residuals(
        tracks.track[rows], tracks.frame[rows], tracks.xy[rows], stacked, camera, scale, seed
    )
    error = np.linalg.norm(residual, axis=1)
    cost = float(np.square(np.minimum(error / (LARGEST_PX * scale), 1.0)).mean())
    return TrackFit(cost, float(np.degrees(np.arccos(np.clip(np.median(cosine), -1.0, 1.0)))))


def has_views(track: IntArray, least: int) -> NDArray[np.bool_]:
    """Which observations (O,) are of tracks with at least so many; ``track`` (O,) ascending."""
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    views = np.diff(np.append(starts, len(track)))
    return np.asarray(np.repeat(views >= least, views))


def some_tracks(track: IntArray, most: int) -> NDArray[np.bool_]:
    """Which observations (O,) are of at most so many tracks, evenly spread; ``track`` (O,) ascending."""
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    is_kept = np.zeros(len(starts), np.bool_)
    is_kept[spread_positions(len(starts), most)] = True
    return np.asarray(np.repeat(is_kept, np.diff(np.append(starts, len(track)))))


def track_residuals(
    track: IntArray, frame: IntArray, xy: FloatArray, poses: FloatArray, camera: PinholeCamera, scale: float, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Reprojections of robust points of tracks less their observations, with fixed poses.

    Args:
        track: Track of each observation (O,), ascending.
        frame: Its row of ``poses`` (O,).
        xy: Its pixel (O, 2).
        poses: cam_from_world (F, 3, 4).
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.

    Returns:
        Residuals (O, 2) in pixels, inf behind the camera, and the cosine (T,) of the widest angle between two rays of
        each track.
    """
    rays = observation_rays(np.cumsum(np.diff(track, prepend=-1) != 0) - 1, frame, xy, poses, camera)
    points, cosine = first_points(
        np.append(rays.starts, len(track)),
        frame.astype(np.int64),
        rays.normalised.astype(np.float64),
        poses,
        camera.focal,
        threshold_px=LARGEST_PX * scale,
        scale_px=2.0 * scale,
        hypotheses=12,
        seed=seed,
    )
    return reprojection_residuals_px(rays, points), cosine
