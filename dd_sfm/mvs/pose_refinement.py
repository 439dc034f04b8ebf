"""Poses adjusted with well-measured dense points added to the tracks."""

import logging
from collections.abc import Sequence

import numpy as np

from dd_sfm.config import Config
from dd_sfm.mvs.depth_maps import DepthMap, depth_maps
from dd_sfm.mvs.fusion import FusedPixels, consistent_pixels
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.measurement import measure_points
from dd_sfm.mvs.observation_information import observation_information
from dd_sfm.mvs.views import PosedViews
from dd_sfm.progress import Progress
from dd_sfm.runtime import solver_threads
from dd_sfm.sfm.bundle_adjustment import NEARLY_CONVERGED, bundle_adjust, thinned
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_selection import concatenate_points, spread_subset
from dd_sfm.sfm.pose_priors import PosePriors
from dd_sfm.sfm.weighted_adjustment import adjust_weighted
from dd_sfm.structures import Model

logger = logging.getLogger(__name__)


def refine_poses(
    images: GreyImages,
    model: Model,
    config: Config,
    progress: Progress,
    before: Sequence[DepthMap] = (),
    priors: PosePriors | None = None,
) -> tuple[Model, Sequence[DepthMap]]:
    """Adjust the poses with well-measured dense points added to the tracks.

    The tracks must stay in: dense points see short stretches of the path, and alone they let it drift.

    Args:
        images: The run's frames.
        model: Points of the tracks, and poses.
        config: The configuration.
        progress: Shows the references.
        before: Depth maps of the last round, to start from.
        priors: Measured poses, which count as well.

    Returns:
        Poses, camera and the tracks' points after the adjustment, thinned: the points only serve as a start; and the
        depth maps with the poses as they were.
    """
    views = PosedViews(images, model)
    step = config.dense.adjust_spacing_px
    maps = list(depth_maps(views, config, progress, step=step, label="adjust", before=before, again=True))
    if len(maps) < 2:
        return model, maps
    scale = error_scale(images.frames)
    rng = np.random.default_rng(config.runtime.seed)
    # Only the sample is held while poses are adjusted.
    agreed = consistent_pixels(views, maps, config.dense)
    sample = [_sample(a.pixels.take(a.confident), config.dense.adjust_points, rng) for a in agreed]
    limit = config.triangulation.max_reprojection_px * scale
    dense, expected = measure_points(views, sample, config.dense, limit_px=limit, progress=progress, wide=False)
    part = concatenate_points(_spread(model, config), *dense)
    logger.info("adjust: %d dense points and %d of tracks", len(expected), len(part.xyz) - len(expected))
    return _adjust(images, part, config, priors), maps


def refine_poses_by_tracks(images: GreyImages, model: Model, config: Config, priors: PosePriors | None = None) -> Model:
    """Adjust the poses to the tracks, with every observation as exact as the texture around it.

    Args:
        images: The run's frames.
        model: Points of the tracks, and poses that are adjusted to them with equal weights.
        config: The configuration.
        priors: See :func:`refine_poses`.

    Returns:
        As :func:`refine_poses`.
    """
    return model if model.camera.is_free else _adjust(images, _spread(model, config), config, priors)


def _spread(model: Model, config: Config) -> Model:
    size = (model.camera.width, model.camera.height)
    return spread_subset(model, size, config.triangulation.adjust_points_per_frame)


def _adjust(images: GreyImages, part: Model, config: Config, priors: PosePriors | None) -> Model:
    """Poses, camera and points adjusted to each other, with every observation as exact as the texture around it."""
    scale, threads = error_scale(images.frames), solver_threads(config.runtime)
    if part.camera.is_free:
        adjusted = bundle_adjust(
            part, images.frames, refine_focal=True, scale_px=scale, threads=threads, tolerance=NEARLY_CONVERGED
        )
        return adjusted if priors is None else priors.aligned(adjusted)
    part = thinned(part)
    information = observation_information(images, part)
    adjusted = adjust_weighted(
        part, information, loss_px=scale, threads=threads, tolerance=NEARLY_CONVERGED, priors=priors
    )
    return adjusted if priors is None else priors.aligned(adjusted)


def _sample(pixels: FusedPixels, count: int, rng: np.random.Generator) -> FusedPixels:
    keep = np.zeros(len(pixels.pixels), bool)
    keep[rng.permutation(len(keep))[:count]] = True
    return pixels.take(keep)
