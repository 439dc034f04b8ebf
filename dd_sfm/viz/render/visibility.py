"""Find the points of a cloud that a camera sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_common_cameras
from dd_sfm.io.scene import Scene
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.cloud_view import distinct_labels, point_spacing, scene_label
from dd_sfm.viz.render.same_video import poses_by_frame
from dd_sfm.viz.render.splat import Projected, project, rasterise

BUFFER_WIDTH = 480
"""Width of the depth buffer that finds hidden points: coarse, so that sparse clouds hide what is behind them too."""
HIDDEN_DEPTH_SHARE, HIDDEN_SPACINGS = 0.1, 3.0
"""A point is hidden when it lies behind the nearest splat by more than this share of its depth plus this many spacings.
With smaller values points on slanted walls are hidden by their own neighbours.
"""  # fmt: skip
SPLAT_RADIUS_SPACINGS = 0.6
"""Radius of a splat in spacings of the points."""
MAX_SPACING, STRAY_SPACING = 1.5, 2.0
"""In median spacings: the largest spacing that is used, and the one from which a point counts as a stray."""


@dataclass(frozen=True)
class Layer:
    """A reconstruction to draw over frames, with what is computed once for all of them.

    ``image_index``: index in ``scene.images`` of each frame number with a pose; ``spacing`` (P,): distance of every
    point to its neighbours; ``observed``: indices of the observed points, sorted by image, and ``first_observed``:
    where those of each image begin; ``scale``: the unit of length of this scene in that of the first layer.
    """

    scene: Scene
    label: str
    image_index: dict[int, int]
    spacing: FloatArray
    observed: IntArray
    first_observed: IntArray
    scale: float = 1.0

    def observed_in(self, index: int) -> IntArray:
        """Indices of the points observed in an image."""
        return self.observed[self.first_observed[index] : self.first_observed[index + 1]]


def make_layers(scenes: list[Scene]) -> list[Layer]:
    """Prepare reconstructions that are drawn side by side.

    Raises:
        InputError: If one has no point.
    """
    labels = distinct_labels([scene_label(scene) for scene in scenes], [scene.source for scene in scenes])
    return [_make_layer(scene, label, scenes[0]) for scene, label in zip(scenes, labels, strict=True)]


def _make_layer(scene: Scene, label: str, first: Scene) -> Layer:
    model = scene.model
    if not len(model.xyz):
        raise InputError(f"{scene.source}: the model has no point to draw; expected at least one. Repeat the run")
    order = np.argsort(model.frame, kind="stable")
    first_observed = np.searchsorted(model.frame[order], np.arange(len(scene.images) + 1))
    image_index = {scene.images[k].number: k for k in scene.registered}
    scale = 1.0 if scene is first else _scale_to(first, scene)
    return Layer(scene, label, image_index, point_spacing(model.xyz), model.point[order], first_observed, scale)


def _scale_to(first: Scene, scene: Scene) -> float:
    """Scale from a scene to the first one, by the cameras of both; 1 where too few are common to tell."""
    try:
        return align_common_cameras(poses_by_frame(scene), poses_by_frame(first)).similarity.scale
    except InputError:
        return 1.0


def visible_points(
    layer: Layer, index: int, camera: PinholeCamera, usable: NDArray[np.bool_] | None = None
) -> IntArray:
    """Find the points that a camera sees: inside the picture and not hidden by nearer points.

    Each point is a splat as large as its distance to its neighbours, so that a surface is closed and hides what lies
    behind it. Points that were observed in this image are always visible.

    Args:
        layer: The points.
        index: Index of the image in the scene.
        camera: Camera of the picture.
        usable: Field of view (H, W) bool in the picture; None for all of it.

    Returns:
        Indices of points, ascending.
    """
    model, pose = layer.scene.model, layer.scene.model.cam_from_world[index]
    projected = project(model.xyz, camera, pose)
    if usable is None:
        usable = np.ones((camera.height, camera.width), bool)
    candidates = np.flatnonzero(inside_mask(usable, projected.xy))
    in_front = _in_front(model.xyz[candidates], layer.spacing[candidates], camera, pose)
    observed = np.zeros(len(model.xyz), bool)
    observed[layer.observed_in(index)] = True
    return candidates[in_front | observed[candidates]]


def _in_front(xyz: FloatArray, spacing: FloatArray, camera: PinholeCamera, pose: FloatArray) -> NDArray[np.bool_]:
    """Which points (N,) are not hidden by nearer ones."""
    width = min(BUFFER_WIDTH, camera.width)
    coarse = camera.fitted((width, max(2, round(width * camera.height / camera.width))))
    projected = project(xyz, coarse, pose)
    if not len(xyz):
        return np.zeros(0, bool)
    middle = float(np.median(spacing))
    size = np.minimum(spacing, MAX_SPACING * middle)
    # Points far from their neighbours hide nothing: such a stray would hide a whole patch of the surface behind it.
    dense = spacing <= STRAY_SPACING * middle
    splats = Projected(np.where(dense[:, None], projected.xy, np.nan), projected.depth)
    buffer = rasterise(splats, coarse, SPLAT_RADIUS_SPACINGS * coarse.fx * size / np.maximum(projected.depth, 1e-12))
    cell = np.round(projected.xy).astype(np.int64).clip(0, [coarse.width - 1, coarse.height - 1])
    nearest = buffer.depth[cell[:, 1], cell[:, 0]]
    return projected.depth <= nearest + HIDDEN_DEPTH_SHARE * projected.depth + HIDDEN_SPACINGS * size
