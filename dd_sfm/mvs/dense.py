"""Depth of every pixel of reference frames, with the poses found; and poses made better by it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dd_sfm.config import Config
from dd_sfm.mvs.depth_maps import DepthMap, PosedViews, depth_map
from dd_sfm.mvs.fusion import Chosen, agreed_pixels, measure, select
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.ops.compiled import set_threads
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.mapping import error_scale
from dd_sfm.sfm.triangulation import spread_subset
from dd_sfm.structures import FloatArray, Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DenseResult:
    """``model``: dense points only; ``expected`` (P,) their expected relative error; ``figures`` for metrics.json."""

    model: Model
    expected: FloatArray
    figures: dict[str, int]


def refine_poses(images: GreyImages, model: Model, config: Config, progress: Progress) -> Model:
    """Adjust the poses with well-measured dense points added to the tracks.

    The tracks must stay in: dense points see short stretches of the path, and alone they let it drift.

    Args:
        images: The run's frames.
        model: Points of the tracks, and poses.
        config: The configuration.
        progress: Shows the references.

    Returns:
        Poses, camera and the tracks' points after the adjustment, thinned: the points only serve as a start.
    """
    posed, maps = _depth_maps(images, model, config, progress, step=config.dense.adjust_spacing_px)
    if len(maps) < 2:
        return model
    rng = np.random.default_rng(config.runtime.seed)
    sure, _ = agreed_pixels(posed, maps, config.dense)
    chosen = [_some(c, config.dense.adjust_points, rng) for c in sure]
    limit = config.densify.max_reprojection_px * error_scale(images.frames)
    dense, _ = measure(posed, maps, chosen, config.dense, limit_px=limit, progress=progress)
    size = (model.camera.width, model.camera.height)
    part = joined(spread_subset(model, size, config.densify.adjust_points_per_frame), dense)
    logger.info("adjust: %d dense points and %d of tracks", len(dense.xyz), len(part.xyz) - len(dense.xyz))
    return bundle_adjust(
        part,
        images.frames,
        refine_focal=model.camera.is_guess,
        scale_px=error_scale(images.frames),
        threads=cpu_threads(config.runtime),
    )


def dense_points(images: GreyImages, model: Model, config: Config, progress: Progress) -> DenseResult:
    """Search the depth of every pixel of the references and keep what the references agree on.

    Args:
        images: The run's frames.
        model: Poses, and points to start from.
        config: The configuration.
        progress: Shows the references.
    """
    posed, maps = _depth_maps(images, model, config, progress)
    chosen = select(posed, maps, config.dense) if maps else []
    limit = config.densify.max_reprojection_px * error_scale(images.frames)
    points, expected = measure(posed, maps, chosen, config.dense, limit_px=limit, progress=progress)
    figures = {
        "depth_maps": len(maps),
        "depths_found": sum(int((m.planes[:, 0] > 0).sum()) for m in maps),
        "depths_agreed_once": sum(len(c.pixels) for c in chosen),
        "dense_points": len(points.xyz),
    }
    logger.info("dense: %s", figures)
    return DenseResult(points, expected, figures)


def joined(first: Model, second: Model) -> Model:
    """The points of two models that share poses and camera."""
    return replace(
        first,
        xyz=np.concatenate([first.xyz, second.xyz]),
        rgb=np.concatenate([first.rgb, second.rgb]),
        error_px=np.concatenate([first.error_px, second.error_px]),
        point=np.concatenate([first.point, second.point + len(first.xyz)]),
        frame=np.concatenate([first.frame, second.frame]),
        xy=np.concatenate([first.xy, second.xy]),
    )


def _depth_maps(
    images: GreyImages, model: Model, config: Config, progress: Progress, *, step: int | None = None
) -> tuple[PosedViews, Sequence[DepthMap]]:
    """Depth maps of all references, every ``step`` working pixels: for adjusting; None for the spacing of the cloud."""
    set_threads(cpu_threads(config.runtime))
    posed = PosedViews(images, model)
    references = sorted(posed.points_seen)[:: config.dense.every]
    label = "depth" if step is None else "adjust"
    step = step or max(1, round(config.dense.spacing_px * posed.grid.scale))
    found = (depth_map(posed, f, step) for f in progress(references, total=len(references), label=label))
    return posed, [m for m in found if m is not None]


def _some(chosen: Chosen, count: int, rng: np.random.Generator) -> Chosen:
    keep = np.zeros(len(chosen.pixels), bool)
    keep[rng.permutation(len(keep))[:count]] = True
    return chosen.take(keep)
