"""Parts of a model's points, and two models' points together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.structures import FloatArray, Model


def select_points(model: Model, keep: NDArray[np.bool_]) -> Model:
    """The model with only the points under a mask (P,)."""
    return take_points([model], [keep])


def concatenate_points(*models: Model) -> Model:
    """The points of one or more models that share poses and camera, one model after the other."""
    return take_points(list(models))


def take_points(models: list[Model], keep: Sequence[NDArray[np.bool_]] | None = None) -> Model:
    """The points of models that share poses and camera, one model after the other, under a mask (P,) of each.

    The models are taken out of the list: where nobody else holds them, no more than one column of the observations is
    in memory twice.
    """
    first, columns, count = models[0], _columns(models, keep), 0
    for points, numbers in zip(columns["xyz"], columns["point"], strict=True):
        numbers += count
        count += len(points)
    models.clear()
    joined: dict[str, Any] = {name: np.concatenate(columns.pop(name)) for name in tuple(columns)}
    return replace(first, **joined)


def _columns(models: Sequence[Model], keep: Sequence[NDArray[np.bool_]] | None) -> dict[str, list[FloatArray]]:
    """Every column of the points of models, their point numbers copied."""
    of_points, of_observations = ("xyz", "rgb", "error_px"), ("point", "frame", "xy")
    if keep is None:
        columns = {name: [getattr(m, name) for m in models] for name in (*of_points, *of_observations)}
        return columns | {"point": [m.point.copy() for m in models]}
    columns = {name: [getattr(m, name)[k] for m, k in zip(models, keep, strict=True)] for name in of_points}
    rows = [k[m.point] for m, k in zip(models, keep, strict=True)]
    columns |= {name: [getattr(m, name)[r] for m, r in zip(models, rows, strict=True)] for name in of_observations}
    numbers = [(np.cumsum(k) - 1).astype(m.point.dtype) for m, k in zip(models, keep, strict=True)]
    return columns | {"point": [n[p] for n, p in zip(numbers, columns["point"], strict=True)]}


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
