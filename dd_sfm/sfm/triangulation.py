"""Points of all tracks, triangulated robustly with the poses found by the mapper."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.config import Config
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.ray_consensus import UNUSED, consistent_points
from dd_sfm.structures import FloatArray, IntArray, Model, Tracks


def triangulate(
    tracks: Tracks,
    cam_from_world: dict[int, FloatArray],
    camera: PinholeCamera,
    config: Config,
    *,
    scale: float = 1.0,
) -> tuple[Model, IntArray]:
    """Triangulate all tracks robustly with fixed poses, and keep the points that hold up.

    A point is kept with ``triangulation.min_views`` observations within ``max_reprojection_px`` and a widest angle of
    at least ``min_angle_deg``. Colours are black until :func:`dd_sfm.sfm.point_colours.colour`.

    Args:
        tracks: Observations.
        cam_from_world: Poses by frame position; other observations are left out.
        camera: The camera.
        config: Thresholds, threads and seed.
        scale: Factor on the thresholds in pixels, for the size of the picture.

    Returns:
        The points, and the number (P,) of the track that each comes from.
    """
    rows = np.flatnonzero(np.isin(tracks.frame, np.array(sorted(cam_from_world), np.int64)))
    track, frame = tracks.track[rows], tracks.frame[rows]
    normalised = camera.normalise(tracks.xy[rows])
    poses = stack_poses(cam_from_world)
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    places, owner, error = consistent_observations(starts, frame, normalised, poses, camera, config, scale)
    # Points of the first pass come first.
    order = np.concatenate([np.flatnonzero(owner == number) for number in range(config.triangulation.passes)])
    track, number, kept = track[order], owner[order], rows[order]
    first = np.flatnonzero((np.diff(track, prepend=-1) != 0) | (np.diff(number, prepend=UNUSED) != 0))
    lengths = np.diff(np.append(first, len(order)))
    xyz = places[number[first], np.searchsorted(starts, order[first], side="right") - 1]
    model = Model(
        camera=camera,
        cam_from_world=cam_from_world,
        xyz=xyz,
        rgb=np.zeros((len(xyz), 3), np.uint8),
        error_px=np.add.reduceat(error[order], first) / lengths if len(first) else np.zeros(0),
        point=np.repeat(np.arange(len(xyz), dtype=np.int32), lengths),
        frame=frame[order].astype(np.int32),
        xy=tracks.xy[kept],
    )
    return model, track[first]


def consistent_observations(
    starts: IntArray,
    frame: IntArray,
    normalised: FloatArray,
    poses: FloatArray,
    camera: PinholeCamera,
    config: Config,
    scale: float,
) -> tuple[FloatArray, NDArray[np.int8], FloatArray]:
    """Robust points of tracks, shared out among threads; see :func:`dd_sfm.sfm.ray_consensus.consistent_points`.

    Returns:
        Points (passes, T, 3); for each observation the pass whose point it belongs to (O,), or ``UNUSED``; its error
        in pixels (O,).
    """
    settings, threads = config.triangulation, cpu_threads(config.runtime)
    points = np.zeros((settings.passes, len(starts), 3))
    owner, error = np.full(len(frame), UNUSED, np.int8), np.zeros(len(frame))
    bounds = np.append(starts, len(frame))

    def find(first: int, end: int) -> None:
        consistent_points(
            bounds[first : end + 1],
            frame,
            normalised,
            poses,
            camera.focal,
            settings.max_reprojection_px * scale,
            float(np.cos(np.radians(settings.min_angle_deg))),
            settings.min_views,
            # A track that slid from one surface point to another holds two: what the first did not use gets a try.
            settings.passes,
            config.runtime.seed,
            points[:, first:end],
            owner,
            error,
        )

    with ThreadPoolExecutor(threads) as pool:
        ends = np.linspace(0, len(starts), 4 * threads + 1).astype(int).tolist()
        # Listed, so that an error in a thread is raised here.
        list(pool.map(find, *zip(*pairwise(ends), strict=True)))
    return points, owner, error
