"""The dense points of a model: depth maps, fused, and measured in their views."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dd_sfm.config import Config
from dd_sfm.mvs.depth_maps import DepthMap, depth_maps
from dd_sfm.mvs.fusion import fuse
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.measurement import measure_points
from dd_sfm.mvs.views import PosedViews
from dd_sfm.progress import Progress
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.structures import FloatArray, Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DensePoints:
    """Dense points only.

    ``parts``: those of each reference; ``uncertainty`` (P,): their expected relative errors, one part after the other;
    ``figures`` for metrics.
    """

    parts: list[Model]
    uncertainty: FloatArray
    figures: dict[str, int]


def spacing_px(config: Config, working_scale: float) -> int:
    """Working pixels between the depths of the last search, for so many in a source pixel."""
    return max(1, round(config.dense.spacing_px * working_scale))


def dense_points(
    images: GreyImages, model: Model, config: Config, progress: Progress, before: Sequence[DepthMap] = ()
) -> DensePoints:
    """Search the depth of every pixel of the references and keep what the references agree on.

    Args:
        images: The run's frames.
        model: Poses, and points to start from.
        config: The configuration.
        progress: Shows the references.
        before: Coarser depth maps with nearly the same poses, to start from.
    """
    views = PosedViews(images, model)
    step = spacing_px(config, views.grid.scale)
    counts: list[int] = []
    maps = _counted(depth_maps(views, config, progress, step=step, before=before, into_holes=True), counts)
    fusion = fuse(views, maps, config.dense)
    limit = config.triangulation.max_reprojection_px * error_scale(images.frames)
    parts, uncertainty = measure_points(views, fusion.chosen, config.dense, limit_px=limit, progress=progress)
    figures = {
        "depth_maps": len(counts),
        "depths_found": sum(counts),
        "depths_confirmed": fusion.confirmed,
        "depths_agreed_once": sum(len(pixels.pixels) for pixels in fusion.chosen),
        "dense_points": len(uncertainty),
    }
    logger.info("dense: %s", figures)
    return DensePoints(parts, uncertainty, figures)


def _counted(maps: Iterable[DepthMap], counts: list[int]) -> Iterator[DepthMap]:
    """The maps, and for each how many depths it knows."""
    for depth_map in maps:
        counts.append(len(depth_map.known))
        yield depth_map
