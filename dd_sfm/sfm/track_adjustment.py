"""Tracks triangulated with poses that are adjusted to them."""

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.runtime import solver_threads
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_selection import spread_subset
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, FrameSet, Model, Tracks


def adjust_tracks(
    frames: FrameSet, tracks: Tracks, poses: dict[int, FloatArray], camera: PinholeCamera, config: Config
) -> Model:
    """Triangulate all tracks, after the poses are adjusted on a well-spread part of them.

    Args:
        frames: The run's frames.
        tracks: All tracks.
        poses: cam_from_world (3, 4) by frame position.
        camera: Their camera; a guessed focal length is adjusted too.
        config: Thresholds, and whether poses are adjusted at all.
    """
    scale = error_scale(frames)
    model, _ = triangulate(tracks, poses, camera, config, scale=scale)
    if not config.triangulation.bundle_adjust or not len(model.xyz):
        return model
    part = spread_subset(model, (camera.width, camera.height), config.triangulation.adjust_points_per_frame)
    adjusted = bundle_adjust(
        part, frames, refine_focal=camera.is_free, scale_px=scale, threads=solver_threads(config.runtime)
    )
    return triangulate(tracks, adjusted.cam_from_world, adjusted.camera, config, scale=scale)[0]
