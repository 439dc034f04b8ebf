"""Poses of single frames against the points of a finished model."""

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import colmap_camera
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.mappers import Poses
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, FrameSet, IntArray, Tracks

MIN_INLIER_RATIO = 0.3
"""Least share of a frame's observations that agree with its pose."""


def register_remaining(poses: Poses, camera: PinholeCamera, frames: FrameSet, tracks: Tracks, config: Config) -> Poses:
    """Register the frames that the mapper left out, by the points of the tracks that they see.

    Args:
        poses: cam_from_world of the registered frames.
        camera: Their camera.
        frames: All frames.
        tracks: All tracks, not only those that the mapper was given.
        config: Thresholds, fewest inliers and seed.

    Returns:
        The poses, with those of the frames that could be registered.
    """
    missing = [k for k in range(len(frames)) if k not in poses]
    if not missing:
        return poses
    found = dict(poses)
    numbers, points = _track_points(tracks, poses, camera, frames, config)
    most_px = 2 * config.map.verify_max_error_px * error_scale(frames)
    useful = np.flatnonzero(np.isin(tracks.frame, missing) & np.isin(tracks.track, numbers))
    by_frame = FrameRows(tracks.frame[useful])
    for position in missing:
        rows = useful[by_frame.of(position)]
        if len(rows) < 2 * config.map.min_inliers:
            continue
        xyz = points[np.searchsorted(numbers, tracks.track[rows])]
        pose, inliers = resected(tracks.xy[rows], xyz, camera, most_px, config.runtime.seed)
        if pose is not None and inliers >= max(config.map.min_inliers, MIN_INLIER_RATIO * len(rows)):
            found[position] = pose
    return found


def resected(
    xy: FloatArray, xyz: FloatArray, camera: PinholeCamera, max_error_px: float, seed: int
) -> tuple[FloatArray | None, int]:
    """The pose of a frame by points that it sees, and how many agree with it; COLMAP's, by RANSAC.

    Args:
        xy: Where it sees them (N, 2), pixel centres at integers.
        xyz: The points (N, 3).
        camera: Of the frame.
        max_error_px: Largest reprojection error of a point that agrees.
        seed: Of the random choices.

    Returns:
        cam_from_world (3, 4), None where there is none, and the number of points.
    """
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = max_error_px
    options.ransac.random_seed = seed
    found = pycolmap.estimate_and_refine_absolute_pose(to_colmap(xy), xyz, colmap_camera(camera), options)
    if not found:
        return None, 0
    return np.asarray(found["cam_from_world"].matrix(), np.float64), int(found["num_inliers"])


def _track_points(
    tracks: Tracks, poses: Poses, camera: PinholeCamera, frames: FrameSet, config: Config
) -> tuple[IntArray, FloatArray]:
    """Track numbers, sorted, and their points in a model."""
    model, numbers = triangulate(tracks, poses, camera, config, scale=error_scale(frames))
    order = np.argsort(numbers)
    return numbers[order], model.xyz[order]
