"""Stage: densify. From tracks and poses to the final points: adjusted poses, dense points, tracks in their gaps."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.io.working import working_grid
from dd_sfm.mvs.dense_points import DensePoints, dense_points, spacing_px
from dd_sfm.mvs.depth_maps import DepthMap
from dd_sfm.mvs.device import dense_search_for
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.neighbours import uncertainty_among_neighbours
from dd_sfm.mvs.pose_refinement import refine_poses, refine_poses_by_tracks
from dd_sfm.mvs.thinning import best_per_cell
from dd_sfm.mvs.uncertainty import GAP_ERROR_FACTOR, SPACING_PER_ERROR, gap_error_factor, track_uncertainty
from dd_sfm.ops.resize import working_scale
from dd_sfm.progress import Progress, labelled
from dd_sfm.runtime import release_memory
from dd_sfm.sfm.bundle_adjustment import thinned
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_cleaning import clean, not_isolated
from dd_sfm.sfm.point_selection import concatenate_points, depths, select_points, spread_subset, take_points
from dd_sfm.sfm.pose_errors import errors_by_poses, observation_variance
from dd_sfm.sfm.pose_priors import PosePriors
from dd_sfm.sfm.rigidity import residual_growth
from dd_sfm.sfm.track_adjustment import adjust_tracks
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FinishedModel, FloatArray, FrameSet, Model, Tracks

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
TRACK_GAP_FACTOR = 1.5
"""Tracks are several times less exact than dense points: they fill only gaps that are wider by this factor."""
POINTS_PER_FRAME = 150
"""Dense points of a frame, and as many of tracks, that tell the errors which poses bring to all."""


def densify_model(
    frames: FrameSet,
    tracks: Tracks,
    poses: dict[int, FloatArray],
    camera: PinholeCamera,
    config: Config,
    progress: Progress,
    device: torch.device = CPU,
    priors: PosePriors | None = None,
) -> FinishedModel:
    """Make the final points of one model.

    Tracks and poses are adjusted to each other, once more by the texture around each observation; then, round by
    round, dense points make the poses better and the tracks are triangulated anew with them; a last dense search gives
    the points, and tracks fill their gaps.

    Args:
        frames: The run's frames.
        tracks: All tracks.
        poses: cam_from_world (3, 4) by frame position, as the mapper found them.
        camera: The mapper's camera.
        config: The configuration.
        progress: Shows the dense search.
        device: Where depths are searched.
        priors: Measured poses in the world of the poses; exact ones are kept.
    """
    if priors is not None and priors.are_exact:
        config = _keeping_poses(config)
    model = adjust_tracks(frames, tracks, poses, camera, config)
    if priors is not None:
        model = priors.aligned(model)
        priors = _weighed(priors, model, frames, config)
    if not (config.dense.enabled and len(model.xyz)):
        sparse = clean(model)
        finished = FinishedModel(sparse, track_uncertainty(sparse))
        finished = _with_pose_errors(finished, model, frames, config, priors)
        return _with_growth(finished, tracks, frames, config)
    grid = working_grid(frames, config, 2)
    search = dense_search_for(device, grid, len(frames))
    images = GreyImages(frames, grid, search)
    maps: Sequence[DepthMap] = ()
    rounds = config.dense.adjust_rounds if config.dense.adjust_points else 0
    if rounds:
        model = _triangulated(tracks, refine_poses_by_tracks(images, model, config, priors), frames, config)
    for number in range(1, rounds + 1):
        told = labelled(progress, f"round {number} of {rounds}")
        refined, maps = refine_poses(images, model, config, told, maps, priors)
        model = _triangulated(tracks, refined, frames, config)
    dense = dense_points(images, model, config, progress, maps)
    on_gpu = search.on_gpu
    del images, search, maps
    release_memory()
    scale = working_scale(frames.field_of_view_px, config.describe.working_height_px)
    finished = _among_neighbours(fill_gaps(dense, clean(model), config, scale), config, scale)
    finished = _with_pose_errors(finished, model, frames, config, priors)
    finished = _with_growth(finished, tracks, frames, config)
    if device.type == "cuda" and not on_gpu:
        return replace(finished, figures={**finished.figures, "searched_on_cpu": 1})
    return finished


def _triangulated(tracks: Tracks, refined: Model, frames: FrameSet, config: Config) -> Model:
    # The solver of the adjustment leaves gaps in the heap that the next searches do not fill.
    release_memory()
    return triangulate(tracks, refined.cam_from_world, refined.camera, config, scale=error_scale(frames))[0]


def _keeping_poses(config: Config) -> Config:
    """The settings by which points are made with poses as they are."""
    tracks, dense = replace(config.triangulation, bundle_adjust=False), replace(config.dense, adjust_rounds=0)
    return replace(config, triangulation=tracks, dense=dense)


def _spread_part(models: Sequence[Model]) -> Model:
    size = models[0].camera.width, models[0].camera.height
    return concatenate_points(*(thinned(spread_subset(points, size, POINTS_PER_FRAME)) for points in models))


def _weighed(priors: PosePriors, model: Model, frames: FrameSet, config: Config) -> PosePriors:
    """Measured poses with what observations count for beside them."""
    if priors.are_exact or not len(model.xyz):
        return priors
    return priors.with_variance(observation_variance(_spread_part([model]), error_scale(frames), config.runtime.seed))


def _among_neighbours(finished: FinishedModel, config: Config, working_scale: float) -> FinishedModel:
    """A finished model with what the points around each say of its error; one of tracks alone as it is."""
    if not finished.figures["dense_points"]:
        return finished
    model = finished.model
    apart = spacing_px(config, working_scale) / (model.camera.fx * working_scale)
    found = uncertainty_among_neighbours(model.xyz, depths(model), finished.uncertainty, apart, working_scale)
    return replace(finished, uncertainty=found)


def _with_pose_errors(
    finished: FinishedModel, tracks: Model, frames: FrameSet, config: Config, priors: PosePriors | None
) -> FinishedModel:
    """A finished model with the error that its poses bring to its points; ``tracks``: points of tracks, same poses."""
    if priors is not None and priors.are_exact:
        return finished
    part = _spread_part([finished.model, tracks])
    found = errors_by_poses(part, finished.model.xyz, error_scale(frames), config.runtime.seed)
    return replace(finished, pose_error=found)


def _with_growth(finished: FinishedModel, tracks: Tracks, frames: FrameSet, config: Config) -> FinishedModel:
    """A finished model with how much residuals grow over time, where that can be told."""
    model, seed = finished.model, config.runtime.seed
    growth = residual_growth(tracks, model.cam_from_world, model.camera, error_scale(frames), seed)
    return finished if growth is None else replace(finished, figures={**finished.figures, **growth.figures()})


def fill_gaps(dense: DensePoints, sparse: Model, config: Config, working_scale: float) -> FinishedModel:
    """Add points of tracks where no dense point is near, and drop what hangs alone in space.

    Args:
        dense: The dense points; they are taken out of it.
        sparse: The tracks' points, with the same poses.
        config: From which width on a hole is a gap, and how uncertain a point in it may be.
        working_scale: Working pixels in a source pixel.
    """
    count = len(dense.uncertainty)
    if not count:
        return FinishedModel(sparse, track_uncertainty(sparse), dense.figures)
    uncertainty = GAP_ERROR_FACTOR * track_uncertainty(sparse)
    distance = depths(sparse)
    footprint = distance / (sparse.camera.fx * working_scale)
    away = _distances(sparse.xyz, dense.parts) / footprint
    gap = TRACK_GAP_FACTOR * config.dense.gap_px
    fills = (away > gap) & (uncertainty < config.dense.max_gap_uncertainty)
    size = np.maximum(gap * footprint, SPACING_PER_ERROR * uncertainty * distance)
    fills[fills] = best_per_cell(sparse.xyz[fills], size[fills], uncertainty[fills], across=True)
    dense.parts.append(select_points(sparse, fills))
    keep = not_isolated(*dense.parts)
    ends = np.cumsum([len(part.xyz) for part in dense.parts])[:-1]
    model = take_points(dense.parts, np.split(keep, ends))
    uncertainty *= gap_error_factor(gap, spacing_px(config, working_scale)) / GAP_ERROR_FACTOR
    uncertainty = np.concatenate([dense.uncertainty, uncertainty[fills]])[keep]
    figures = dense.figures | {"track_points": int(fills.sum()), "isolated_dropped": int((~keep).sum())}
    logger.info("points: %s", figures)
    return FinishedModel(model, uncertainty, figures)


def _distances(xyz: FloatArray, points: Sequence[Model]) -> FloatArray:
    """How far the nearest point of models is from each of some places (N, 3)."""
    if not len(xyz):
        return np.zeros(0)
    return np.asarray(cKDTree(np.concatenate([part.xyz for part in points])).query(xyz)[0])
