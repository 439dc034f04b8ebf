"""Stage: densify. From tracks and poses to the final points: adjusted poses, dense depth, tracks in its gaps."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.io.working import working_grid
from dd_sfm.mvs.dense import dense_points, joined, refine_poses
from dd_sfm.mvs.fusion import GAP_DOUBT, UNSURE_SPACING
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.ops.resize import working_scale
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px, widest_angles_deg
from dd_sfm.sfm.mapping import error_scale
from dd_sfm.sfm.triangulation import clean, depths, not_isolated, select_points, spread_subset, triangulate
from dd_sfm.structures import FloatArray, FrameSet, Model, Tracks

logger = logging.getLogger(__name__)

GAP_TRACKS = 1.5
"""Tracks are several times less exact than dense points: they fill only gaps that are wider by this factor."""
KEYPOINT_DOUBT = 0.43
"""Error of SIFT's points, relative to that of dense tracks with the same angles and residuals."""


@dataclass(frozen=True)
class Densified:
    """``model``; ``uncertainty`` (P,): relative error that half of such points stay below; ``figures`` for metrics."""

    model: Model
    uncertainty: FloatArray
    figures: dict[str, int] = field(default_factory=dict)


def densify_model(
    frames: FrameSet,
    tracks: Tracks,
    poses: dict[int, FloatArray],
    camera: PinholeCamera,
    config: Config,
    progress: Progress,
) -> Densified:
    """Make the final points of one model.

    Args:
        frames: The run's frames.
        tracks: All tracks.
        poses: cam_from_world (3, 4) by frame position, as the mapper found them.
        camera: The mapper's camera.
        config: The configuration.
        progress: Shows the dense search.
    """
    model = _adjusted_tracks(frames, tracks, poses, camera, config)
    if not (config.dense.enabled and len(model.xyz)):
        sparse = clean(model)
        return Densified(sparse, track_uncertainty(sparse))
    images = GreyImages(frames, working_grid(frames, config, 2))
    for _ in range(config.dense.adjust_rounds if config.dense.adjust_points else 0):
        better = refine_poses(images, model, config, progress)
        model, _ = triangulate(tracks, better.cam_from_world, better.camera, config, scale=error_scale(frames))
    found = dense_points(images, model, config, progress)
    sparse = clean(model)
    scale = working_scale(frames.field_of_view_px, config.describe.working_height_px)
    return _together(Densified(found.model, found.expected, found.figures), sparse, config, scale)


def _adjusted_tracks(
    frames: FrameSet, tracks: Tracks, poses: dict[int, FloatArray], camera: PinholeCamera, config: Config
) -> Model:
    """All tracks triangulated, after poses are adjusted on a well-spread part of them."""
    scale = error_scale(frames)
    model, _ = triangulate(tracks, poses, camera, config, scale=scale)
    if not config.densify.bundle_adjust or not len(model.xyz):
        return model
    part = spread_subset(model, (camera.width, camera.height), config.densify.adjust_points_per_frame)
    adjusted = bundle_adjust(
        part, frames, refine_focal=camera.is_guess, scale_px=scale, threads=cpu_threads(config.runtime)
    )
    return triangulate(tracks, adjusted.cam_from_world, adjusted.camera, config, scale=scale)[0]


def _together(dense: Densified, sparse: Model, config: Config, working_px: float) -> Densified:
    """Dense points, and those of tracks where no dense point is near; ``working_px`` of them make a source pixel."""
    if not len(dense.model.xyz):
        return replace(dense, model=sparse, uncertainty=track_uncertainty(sparse))
    uncertainty = GAP_DOUBT * track_uncertainty(sparse)
    distance = depths(sparse)
    footprint = distance / (sparse.camera.fx * working_px)
    away = np.asarray(cKDTree(dense.model.xyz).query(sparse.xyz)[0]) / footprint if len(sparse.xyz) else footprint
    gap = GAP_TRACKS * config.dense.gap_px
    fills = (away > gap) & (uncertainty < config.dense.max_gap_uncertainty)
    size = np.maximum(gap * footprint, UNSURE_SPACING * uncertainty * distance)
    fills[fills] = best_per_cell(sparse.xyz[fills], size[fills], uncertainty[fills], across=True)
    model = joined(dense.model, select_points(sparse, fills))
    uncertainty = np.concatenate([dense.uncertainty, uncertainty[fills]])
    keep = not_isolated(model)
    figures = dense.figures | {"track_points": int(fills.sum()), "isolated_dropped": int((~keep).sum())}
    logger.info("points: %s", figures)
    return Densified(select_points(model, keep), uncertainty[keep], figures)


def track_uncertainty(model: Model) -> FloatArray:
    """Expected relative error (P,) of points of tracks, from residuals, angle and number of views.

    Propagated from the image: sigma_px / focal / sin(angle) / sqrt(views); what that leaves out (tracks that slide,
    light that moves) is a floor. Factor and floor were fitted to rendered clips, where the median true error of all
    tracks is about three quarters of this; of those that are left to fill gaps it is ``fuse.GAP_DOUBT`` times this.
    """
    if not len(model.xyz):
        return np.zeros(0)
    rays = model_rays(model)
    views = np.bincount(model.point, minlength=len(model.xyz))
    error = reprojection_errors_px(rays, model.xyz) / model.camera.fx
    variance = np.bincount(model.point, weights=error**2, minlength=len(model.xyz)) / views
    angle = np.sin(np.radians(np.maximum(widest_angles_deg(rays, model.xyz), 0.3)))
    propagated = 2 * np.sqrt(variance + (0.3 / model.camera.fx) ** 2) / angle / np.sqrt(np.maximum(views - 1.5, 1))
    return np.sqrt(0.02**2 + (2.3 * propagated) ** 2)


def keypoint_uncertainty(model: Model) -> FloatArray:
    """Expected relative error (P,) of points of COLMAP's SIFT.

    Keypoints of neighbouring frames do not slide along smooth tissue as dense tracks do, so the same propagation
    doubts them too much: on five rendered clips of three organs the true error of a fifth of the points was 0.28 to
    0.75 times it, 0.43 in the middle.
    """
    return KEYPOINT_DOUBT * track_uncertainty(model)
