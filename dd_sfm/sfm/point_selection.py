"""Parts of a model's points, and two models' points together."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.structures import FloatArray, Model


def select_points(model: Model, keep: NDArray[np.bool_]) -> Model:
    """The model with only the points under a mask (P,)."""
    number = (np.cumsum(keep) - 1).astype(model.point.dtype)
    rows = keep[model.point]
    return Model(
        model.camera,
        model.cam_from_world,
        model.xyz[keep],
        model.rgb[keep],
        model.error_px[keep],
        number[model.point[rows]],
        model.frame[rows],
        model.xy[rows],
    )


def concatenate_points(*models: Model) -> Model:
    """The points of one or more models that share poses and camera, one model after the other."""
    before = np.cumsum([0, *(len(m.xyz) for m in models)]).tolist()
    return replace(
        models[0],
        xyz=np.concatenate([m.xyz for m in models]),
        rgb=np.concatenate([m.rgb for m in models]),
        error_px=np.concatenate([m.error_px for m in models]),
        point=np.concatenate([m.point + n for m, n in zip(models, before[:-1], strict=True)]),
        frame=np.concatenate([m.frame for m in models]),
        xy=np.concatenate([m.xy for m in models]),
    )


def depths(model: Model) -> FloatArray:
    """Median distance (P,) of every point to the cameras that see it, in scene units."""
    return np.concatenate([_depths(block) for block in point_blocks(model)] or [np.zeros(0)])


def _depths(model: Model) -> FloatArray:
    centres = camera_centres(stack_poses(model.cam_from_world))
    distance = np.linalg.norm(model.xyz[model.point] - centres[model.frame], axis=1)
    order = np.lexsort((distance, model.point))
    count = np.bincount(model.point, minlength=len(model.xyz))
    middle = np.minimum(np.cumsum(count) - count + count // 2, len(order) - 1)
    return np.asarray(distance[order][middle]) if len(order) else np.zeros(len(model.xyz))


def spread_subset(model: Model, size: tuple[int, int], per_frame: int) -> Model:
    """The best points of every part of every frame: enough to adjust the poses.

    Args:
        model: All points.
        size: Width and height of the frames in source pixels.
        per_frame: Points a frame, spread over a grid of 12 x 12.
    """
    side = 12
    cell = np.clip((model.xy / np.array(size) * side).astype(np.int64), 0, side - 1)
    bucket = (model.frame * side + cell[:, 1]) * side + cell[:, 0]
    views = np.bincount(model.point, minlength=len(model.xyz))
    worth = views / (1.0 + model.error_px)
    order = np.lexsort((-worth[model.point], bucket))
    start = np.searchsorted(bucket[order], bucket[order], side="left")
    # About 60 % of the cells of a round field of view hold anything.
    chosen = order[np.arange(len(order)) - start < max(1, round(per_frame / (0.6 * side * side)))]
    keep = np.zeros(len(model.xyz), bool)
    keep[model.point[chosen]] = True
    return select_points(model, keep)
