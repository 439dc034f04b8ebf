"""Points of all tracks, triangulated robustly with the poses found by the mapper."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.config import Config
from dd_sfm.sfm.geometry import (
    Rays,
    consensus_points,
    observation_rays,
    refine_points,
    reprojection_errors_px,
    widest_angles_deg,
)
from dd_sfm.structures import FloatArray, Model, Tracks

CHUNK_OBSERVATIONS = 1_000_000
"""Observations triangulated at once: about 400 MB of intermediate arrays."""


def triangulate(
    tracks: Tracks,
    cam_from_world: dict[int, FloatArray],
    camera: PinholeCamera,
    config: Config,
    *,
    scale: float = 1.0,
) -> tuple[Model, NDArray[np.int64]]:
    """Triangulate all tracks robustly with fixed poses, and keep the points that hold up.

    A point is kept with ``triangulation.min_views`` observations within ``max_reprojection_px`` and a widest angle of
    at least ``min_angle_deg``. Colours are black until :func:`dd_sfm.sfm.point_colours.colour`.

    Args:
        tracks: Observations.
        cam_from_world: Poses by frame position; other observations are left out.
        camera: The camera.
        config: Thresholds and seed.
        scale: Factor on the thresholds in pixels, for the size of the picture.

    Returns:
        The points, and the number (P,) of the track that each comes from.
    """
    registered = np.array(sorted(cam_from_world), np.int64)
    poses = stack_poses(cam_from_world)
    rows = np.flatnonzero(np.isin(tracks.frame, registered))
    parts = []
    for _ in range(config.triangulation.passes):
        for block in _blocks(tracks.track[rows]):
            parts.append(_triangulate_rows(tracks, rows[block], poses, camera, config, scale))
        # A track that slid from one surface point to another holds two: what the first did not use gets a try.
        rows = np.setdiff1d(rows, np.concatenate([p[2] for p in parts] or [np.zeros(0, np.int64)]))
    xyz = np.concatenate([p[0] for p in parts] or [np.zeros((0, 3))])
    shifts = np.cumsum([0, *(len(p[0]) for p in parts)])
    point = np.concatenate([p[1] + s for p, s in zip(parts, shifts, strict=False)] or [np.zeros(0, np.int64)])
    kept_rows = np.concatenate([p[2] for p in parts] or [np.zeros(0, np.int64)])
    error = np.concatenate([p[3] for p in parts] or [np.zeros(0)])
    count = np.bincount(point, minlength=len(xyz))
    mean_error = np.bincount(point, weights=error, minlength=len(xyz)) / np.maximum(count, 1)
    model = Model(
        camera=camera,
        cam_from_world=cam_from_world,
        xyz=xyz,
        rgb=np.zeros((len(xyz), 3), np.uint8),
        error_px=mean_error,
        point=point,
        frame=tracks.frame[kept_rows],
        xy=tracks.xy[kept_rows].astype(np.float64),
    )
    source = np.zeros(len(xyz), np.int64)
    source[point] = tracks.track[kept_rows]
    return model, source


def _blocks(track: NDArray[np.int64]) -> list[slice]:
    """Slices of at most about CHUNK_OBSERVATIONS rows that never cut a track."""
    ends = [0]
    while ends[-1] < len(track):
        end = min(ends[-1] + CHUNK_OBSERVATIONS, len(track))
        if end < len(track):
            end = int(np.searchsorted(track, track[end], side="left")) or len(track)
            if end <= ends[-1]:
                end = int(np.searchsorted(track, track[ends[-1]], side="right"))
        ends.append(end)
    return [slice(a, b) for a, b in pairwise(ends)]


def _triangulate_rows(
    tracks: Tracks, rows: NDArray[np.int64], poses: FloatArray, camera: PinholeCamera, config: Config, scale: float
) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Points (P, 3), and per kept observation its point, its row of ``tracks`` and its error in pixels."""
    settings = config.triangulation
    limit = settings.max_reprojection_px * scale
    _, track = np.unique(tracks.track[rows], return_inverse=True)
    rays = observation_rays(track, tracks.frame[rows], tracks.xy[rows], poses, camera)
    rays, rows = _drop_short_tracks(rays, rows, settings.min_views)
    if not len(rows):
        return np.zeros((0, 3)), np.zeros(0, np.int64), rows, np.zeros(0)
    rng = np.random.default_rng(config.runtime.seed)
    points = consensus_points(rays, threshold_px=2 * limit, hypotheses=12, rng=rng)
    points = refine_points(rays, points, scale_px=limit / 2)
    for bound in (1.5 * limit, limit, limit):
        keep = reprojection_errors_px(rays, points) <= bound
        rays, rows, points = _keep_observations(rays, rows, points, keep, settings.min_views)
        if not len(rows):
            return points, rays.track, rows, np.zeros(0)
        points = refine_points(rays, points, scale_px=limit / 2, iterations=3)
    error = reprojection_errors_px(rays, points)
    good = (widest_angles_deg(rays, points) >= settings.min_angle_deg)[rays.track] & (error <= limit)
    rays, rows, points = _keep_observations(rays, rows, points, good, settings.min_views)
    return points, rays.track, rows, reprojection_errors_px(rays, points)


def _drop_short_tracks(rays: Rays, rows: NDArray[np.int64], least: int) -> tuple[Rays, NDArray[np.int64]]:
    keep = np.bincount(rays.track)[rays.track] >= least if len(rows) else np.zeros(0, bool)
    return rays.take(keep)[0], rows[keep]


def _keep_observations(
    rays: Rays, rows: NDArray[np.int64], points: FloatArray, keep: NDArray[np.bool_], least: int
) -> tuple[Rays, NDArray[np.int64], FloatArray]:
    """The observations under a mask, without the tracks that are left with too few."""
    keep = keep & (np.bincount(rays.track[keep], minlength=len(points))[rays.track] >= least)
    rays, old = rays.take(keep)
    return rays, rows[keep], points[old]
