"""Parts of a model's points, and two models' points together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.runtime import HeapTrimmer
from dd_sfm.structures import FloatArray, IntArray, Model


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
    camera, poses = models[0].camera, models[0].cam_from_world
    columns = {name: [getattr(m, name) for m in models] for name in (*OF_POINTS, *OF_OBSERVATIONS)}
    masks = keep or [np.ones(len(m.xyz), bool) for m in models]
    models.clear()
    rows = [mask[point] for mask, point in zip(masks, columns["point"], strict=True)]
    columns["point"] = _renumbered(columns["point"], masks)
    joined = {name: _joined(columns.pop(name), masks if name in OF_POINTS else rows) for name in tuple(columns)}
    return Model(camera, poses, **joined)


OF_POINTS, OF_OBSERVATIONS = ("xyz", "rgb", "error_px"), ("point", "frame", "xy")


def _renumbered(points: list[IntArray], masks: Sequence[NDArray[np.bool_]]) -> list[IntArray]:
    """The numbers of points in several models, by those that they have one model after the other under masks."""
    numbered, before = [], 0
    points.reverse()
    for mask in masks:
        part = points.pop()
        numbered.append((np.cumsum(mask) - 1 + before).astype(part.dtype)[part])
        before += int(mask.sum())
    return numbered


def _joined(parts: list[NDArray[Any]], masks: Sequence[NDArray[np.bool_]]) -> NDArray[Any]:
    """What masks leave of arrays, one after the other; each is let go once it has been copied."""
    # By their kinds, as NumPy compares no more than 64 arrays.
    kind = np.result_type(*{part.dtype for part in parts})
    joined = np.empty((sum(int(mask.sum()) for mask in masks), *parts[0].shape[1:]), kind)
    heap, end = HeapTrimmer(), 0
    parts.reverse()
    for mask in masks:
        part = parts.pop()[mask]
        joined[end : end + len(part)] = part
        end += len(part)
        heap.look()
    return joined


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
    # About 60 % of the cells of a round field of view hold anything.
    most = max(1, round(per_frame / (0.6 * side * side)))
    worth = np.bincount(model.point, minlength=len(model.xyz)) / (1.0 + model.error_px)
    points, buckets, first = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    # What is among the best of all is among the best of its block.
    for block in point_blocks(model):
        cell = np.clip((block.xy / np.array(size) * side).astype(np.int64), 0, side - 1)
        bucket = (block.frame * side + cell[:, 1]) * side + cell[:, 0]
        point = block.point.astype(np.int64) + first
        best = _first_of_each(bucket, -worth[point], most)
        points.append(point[best])
        buckets.append(bucket[best])
        first += len(block.xyz)
    point = np.concatenate(points)
    keep = np.zeros(len(model.xyz), bool)
    keep[point[_first_of_each(np.concatenate(buckets), -worth[point], most)]] = True
    return select_points(model, keep)


def _first_of_each(bucket: IntArray, cost: FloatArray, most: int) -> IntArray:
    """The rows of the least costs in every bucket, by bucket and cost; of equal costs those that come first."""
    order = np.lexsort((cost, bucket))
    start = np.searchsorted(bucket[order], bucket[order], side="left")
    return order[np.arange(len(order)) - start < most]
