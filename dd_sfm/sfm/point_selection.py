"""Parts of a model's points, and two models' points together."""

from collections.abc import Iterable, Iterator, Sequence
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
    in memory twice. Under masks, no more than the result is made beside them.
    """
    first, columns = models[0], _kept_columns(models, keep) if keep else _columns(models)
    if not keep:
        models.clear()
    joined: dict[str, Any] = {}
    for name in tuple(columns):
        joined[name] = np.concatenate(list(columns.pop(name)))
    models.clear()
    return replace(first, **joined)


OF_POINTS, OF_OBSERVATIONS = ("xyz", "rgb", "error_px"), ("frame", "xy")


def _columns(models: Sequence[Model]) -> dict[str, Iterable[NDArray[Any]]]:
    """Every column of the points of models, with the numbers that points have one model after the other."""
    before = np.cumsum([0, *(len(m.xyz) for m in models)]).tolist()
    columns: dict[str, Iterable[NDArray[Any]]] = {
        name: [getattr(m, name) for m in models] for name in (*OF_POINTS, *OF_OBSERVATIONS)
    }
    return columns | {"point": [_moved(m.point, count) for m, count in zip(models, before, strict=False)]}


def _kept_columns(models: Sequence[Model], keep: Sequence[NDArray[np.bool_]]) -> dict[str, Iterable[NDArray[Any]]]:
    """The same of the points under masks; each column is made when it is asked for."""
    before = np.cumsum([0, *(int(k.sum()) for k in keep)]).tolist()
    rows = [k[m.point] for m, k in zip(models, keep, strict=True)]

    def column(name: str, chosen: Sequence[NDArray[np.bool_]]) -> Iterator[NDArray[Any]]:
        for m, some in zip(models, chosen, strict=True):
            yield getattr(m, name)[some]

    def points() -> Iterator[NDArray[Any]]:
        for m, k, some, count in zip(models, keep, rows, before, strict=False):
            numbers = (np.cumsum(k) - 1 + count).astype(m.point.dtype)
            yield numbers[m.point[some]]

    columns: dict[str, Iterable[NDArray[Any]]] = {name: column(name, keep) for name in OF_POINTS}
    return columns | {name: column(name, rows) for name in OF_OBSERVATIONS} | {"point": points()}


def _moved(numbers: NDArray[Any], count: int) -> NDArray[Any]:
    moved: NDArray[Any] = numbers + numbers.dtype.type(count)
    return moved


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
