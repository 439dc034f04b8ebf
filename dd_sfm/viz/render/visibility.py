"""Which points of a cloud a camera sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_cameras
from dd_sfm.io.scene import Scene
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.cloud_view import point_spacing, scene_label, tell_apart
from dd_sfm.viz.render.splat import Projected, project, rasterise

BUFFER_WIDTH = 480
"""Width of the depth buffer that finds hidden points: coarse, so that sparse clouds hide what is behind them too."""
DEPTH_SHARE, SPACINGS = 0.1, 3.0
"""A point is hidden when it is further behind the nearest splat than this share of its depth and this many spacings.
The values are a balance, measured on a rendered clip: 95 % of the points shown are visible, and 95 % of the visible
ones shown; points on slanted walls are hidden by their own neighbours when they are smaller.
"""  # fmt: skip
SPLAT, LARGEST, STRAY = 0.6, 1.5, 2.0
"""Radius of a splat in spacings; most of a spacing, and from where on a point counts as a stray, in median ones."""


@dataclass(frozen=True)
class Layer:
    """A reconstruction to draw over frames, with what is found once for all of them.

    ``place``: position of each frame number with a pose; ``spacing`` (P,); ``seen``: rows of the points that were
    observed, sorted by frame, and where each frame's begin; ``unit``: its unit of length in that of the first layer.
    """

    scene: Scene
    label: str
    place: dict[int, int]
    spacing: FloatArray
    seen: IntArray
    starts: IntArray
    unit: float = 1.0


def make_layers(scenes: list[Scene]) -> list[Layer]:
    """Prepare reconstructions that are drawn beside each other.

    Raises:
        InputError: If one has no point.
    """
    labels = tell_apart([scene_label(scene) for scene in scenes], [scene.source for scene in scenes])
    return [_make_layer(scene, label, scenes[0]) for scene, label in zip(scenes, labels, strict=True)]


def _make_layer(scene: Scene, label: str, first: Scene) -> Layer:
    model = scene.model
    if not len(model.xyz):
        raise InputError(f"{scene.source}: the model has no point to draw; expected at least one. Repeat the run")
    order = np.argsort(model.frame, kind="stable")
    starts = np.searchsorted(model.frame[order], np.arange(len(scene.images) + 1))
    place = {scene.images[k].number: k for k in scene.registered}
    unit = 1.0 if scene is first else _unit(scene, first)
    return Layer(scene, label, place, point_spacing(model.xyz), model.point[order], starts, unit)


def _unit(scene: Scene, first: Scene) -> float:
    """By the cameras of both; 1 where too few are common to tell."""
    poses = [{s.images[k].number: s.model.cam_from_world[k] for k in s.registered} for s in (scene, first)]
    common = sorted(poses[0].keys() & poses[1].keys())
    try:
        ours, theirs = (np.array([p[number] for number in common]) for p in poses)
        return align_cameras(ours, theirs).similarity.scale
    except InputError:
        return 1.0


def visible_points(
    layer: Layer, place: int, camera: PinholeCamera, usable: NDArray[np.bool_] | None = None
) -> IntArray:
    """Which points a camera sees: inside the picture and not behind nearer ones.

    Each point is a splat as large as its distance to its neighbours, so that a surface is closed and hides what lies
    behind it. What was observed in this very frame is visible whatever the splats say.

    Args:
        layer: The points.
        place: Position of the frame.
        camera: Of the picture.
        usable: Field of view (H, W) in it; None for all of the picture.

    Returns:
        Indices of points, ascending.
    """
    model, pose = layer.scene.model, layer.scene.model.cam_from_world[place]
    places = project(model.xyz, camera, pose)
    if usable is None:
        usable = np.ones((camera.height, camera.width), bool)
    shown = np.flatnonzero(inside_mask(usable, places.xy))
    hidden = ~_in_front(model.xyz[shown], layer.spacing[shown], camera, pose)
    observed = np.zeros(len(model.xyz), bool)
    observed[layer.seen[layer.starts[place] : layer.starts[place + 1]]] = True
    return shown[~hidden | observed[shown]]


def _in_front(xyz: FloatArray, spacing: FloatArray, camera: PinholeCamera, pose: FloatArray) -> NDArray[np.bool_]:
    width = min(BUFFER_WIDTH, camera.width)
    coarse = camera.fitted((width, max(2, round(width * camera.height / camera.width))))
    places = project(xyz, coarse, pose)
    if not len(xyz):
        return np.zeros(0, bool)
    middle = float(np.median(spacing))
    size = np.minimum(spacing, LARGEST * middle)
    # A stray hides a whole patch of the surface behind it: points far from their neighbours hide nothing.
    dense = spacing <= STRAY * middle
    splats = Projected(np.where(dense[:, None], places.xy, np.nan), places.depth)
    buffer = rasterise(splats, coarse, SPLAT * coarse.fx * size / np.maximum(places.depth, 1e-12))
    cell = np.round(places.xy).astype(np.int64).clip(0, [coarse.width - 1, coarse.height - 1])
    nearest = buffer.depth[cell[:, 1], cell[:, 0]]
    return places.depth <= nearest + DEPTH_SHARE * places.depth + SPACINGS * size
