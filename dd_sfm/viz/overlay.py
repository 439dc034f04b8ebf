"""The cloud drawn over the frames it was made from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError, UsageError
from dd_sfm.evaluation.alignment import align_cameras
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.structures import FloatArray, IntArray, PinholeCamera
from dd_sfm.viz.colours import Scale, scale_of
from dd_sfm.viz.labels import draw_scale, write_label
from dd_sfm.viz.shown import no_common_images, point_spacing, scene_label
from dd_sfm.viz.splat import Projected, colour, project, rasterise, scaled_camera

COLOURS = ("depth", "error", "photo")
OVERSAMPLING = 2
MARGIN = 0.01
"""Around the field of view, as a share of its height."""
BUFFER_WIDTH = 480
"""Width of the depth buffer that finds hidden points: coarse, so that sparse clouds hide what is behind them too."""
DEPTH_SHARE, SPACINGS = 0.1, 3.0
"""A point is hidden when it is further behind the nearest splat than this share of its depth and this many spacings.
The values are a balance, measured on a rendered clip: 95 % of the points shown are visible, and 95 % of the visible
ones shown; points on slanted walls are hidden by their own neighbours when they are smaller.
"""  # fmt: skip
SPLAT, LARGEST, STRAY = 0.6, 1.5, 2.0
"""Radius of a splat in spacings; most of a spacing, and from where on a point counts as a stray, in median ones."""
INK, BOX = (245, 245, 245), (20, 22, 26)


@dataclass(frozen=True)
class OverlaySettings:
    """``panel``: largest width and height of a frame; ``point_size``: diameter in pixels of the panel; ``crop``: leave
    out what lies around the field of view.
    """  # fmt: skip

    colour: str = "depth"
    panel: tuple[int, int] = (960, 540)
    point_size: float = 3.0
    every: int = 1
    crop: bool = True


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


@dataclass(frozen=True)
class Panel:
    """Where a frame is drawn: the part ``area`` (x0, y0, x1, y1) of it, as a picture of ``camera``'s size."""

    area: tuple[int, int, int, int]
    camera: PinholeCamera

    def cut(self, image: NDArray[Any], interpolation: int = cv2.INTER_AREA) -> NDArray[Any]:
        """The part of an image (H, W[, 3]) of the frame's size, resized."""
        x0, y0, x1, y1 = self.area
        return cv2.resize(image[y0:y1, x0:x1], (self.camera.width, self.camera.height), interpolation=interpolation)


def make_layer(scene: Scene, first: Scene | None = None) -> Layer:
    """Prepare a reconstruction; ``first`` is what it stands beside.

    Raises:
        InputError: If it has no point.
    """
    model = scene.model
    if not len(model.xyz):
        raise InputError(f"{scene.source}: the model has no point to draw; expected at least one. Repeat the run")
    order = np.argsort(model.frame, kind="stable")
    starts = np.searchsorted(model.frame[order], np.arange(len(scene.images) + 1))
    place = {scene.images[k].number: k for k in scene.registered}
    unit = _unit(scene, first) if first is not None else 1.0
    return Layer(scene, scene_label(scene), place, point_spacing(model.xyz), model.point[order], starts, unit)


def _unit(scene: Scene, first: Scene) -> float:
    """By the cameras of both; 1 where too few are common to tell."""
    poses = [{s.images[k].number: s.model.cam_from_world[k] for k in s.registered} for s in (scene, first)]
    common = sorted(poses[0].keys() & poses[1].keys())
    try:
        ours, theirs = (np.array([p[number] for number in common]) for p in poses)
        return align_cameras(ours, theirs).similarity.scale
    except InputError:
        return 1.0


def check_overlay(layers: list[Layer], settings: OverlaySettings) -> None:
    """See that there is something to draw.

    Raises:
        UsageError: If the colouring is unknown.
        InputError: If images are missing, no error is known to colour by, or two runs share no frame.
    """
    if settings.colour not in COLOURS:
        raise UsageError(f"--colour {settings.colour}: unknown; expected one of {', '.join(COLOURS)}")
    first = layers[0].scene
    missing = [image.name for image in first.images if image.path is None]
    if missing:
        raise InputError(
            f"{first.source}: {len(missing)} of {len(first.images)} images not found ('{missing[0]}' is one); expected "
            "them beside the model. Say where with --images"
        )
    for layer in layers:
        if settings.colour == "error" and not (layer.scene.model.error_px >= 0).any():
            raise InputError(f"{layer.scene.source}: holds no errors of its points; use --colour depth or photo")
    numbers = {image.number for image in first.images}
    for layer in layers[1:]:
        if not numbers & set(layer.place):
            raise no_common_images(str(first.source), str(layer.scene.source), 0)


def overlay_frames(layers: list[Layer], settings: OverlaySettings) -> Iterator[NDArray[np.uint8]]:
    """Frame after frame: the plain one and the cloud over it, or two clouds side by side.

    Only one frame is in memory at a time. All pictures have one even size.
    """
    scale = _find_scale(layers, settings)
    first = layers[0].scene
    field = read_mask(first.field_mask) if first.field_mask else None
    for image in chosen_images(first, settings):
        assert image.path is not None
        picture = read_image(image.path)
        where = _panel_of(image, picture.shape, field, settings)
        plain = where.cut(picture)
        panels = [] if len(layers) > 1 else [_named(plain, f"frame {image.number}")]
        panels += [_panel(layer, scale, image, plain, where, settings) for layer in layers]
        yield _even(np.concatenate(panels, 1))


def chosen_images(scene: Scene, settings: OverlaySettings) -> list[SceneImage]:
    """The images of a video, in order."""
    return list(scene.images[:: settings.every])


def _panel_of(
    image: SceneImage, shape: tuple[int, ...], field: NDArray[np.bool_] | None, settings: OverlaySettings
) -> Panel:
    height, width = shape[:2]
    x0, y0, x1, y1 = 0, 0, width, height
    if settings.crop and field is not None and field.shape == (height, width) and field.any():
        rows, columns = np.flatnonzero(field.any(1)), np.flatnonzero(field.any(0))
        margin = round(MARGIN * (rows[-1] - rows[0]))
        x0, x1 = max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)
        y0, y1 = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)
    scale = min(1.0, settings.panel[0] / (x1 - x0), settings.panel[1] / (y1 - y0))
    size = max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale))
    # The model's images may be of another size than its camera, as when they were shrunk for the disk.
    own = scaled_camera(image.camera, width, height)
    part = replace(own, width=x1 - x0, height=y1 - y0, cx=own.cx - x0, cy=own.cy - y0)
    return Panel((x0, y0, x1, y1), scaled_camera(part, *size))


def _panel(
    layer: Layer,
    scale: Scale | None,
    image: SceneImage,
    plain: NDArray[np.uint8],
    where: Panel,
    settings: OverlaySettings,
) -> NDArray[np.uint8]:
    place = layer.place.get(image.number)
    if place is None:
        return _named(plain, f"{layer.label}: frame {image.number} is not registered")
    model = layer.scene.model
    shown = visible_points(layer, place, where.camera, _usable(_mask_path(layer.scene, image), where))
    if scale is None:
        rgb = model.rgb[shown]
    elif settings.colour == "error":
        rgb = scale.rgb(model.error_px[shown])
    else:
        pose = model.cam_from_world[place]
        rgb = scale.rgb((model.xyz[shown] @ pose[2, :3] + pose[2, 3]) * layer.unit)
    result = _draw(plain, model.xyz[shown], rgb, model.cam_from_world[place], where.camera, settings.point_size)
    result = _named(result, f"{layer.label}: {len(shown):,} points")
    return draw_scale(result, scale, rgb=INK, box=BOX) if scale is not None else result


def _draw(
    plain: NDArray[np.uint8],
    xyz: FloatArray,
    rgb: NDArray[np.uint8],
    pose: FloatArray,
    camera: PinholeCamera,
    size: float,
) -> NDArray[np.uint8]:
    """Round points with soft edges over a picture."""
    large = scaled_camera(camera, camera.width * OVERSAMPLING, camera.height * OVERSAMPLING)
    buffer = rasterise(project(xyz, large, pose), large, np.full(len(xyz), size / 2 * OVERSAMPLING))
    target = (camera.width, camera.height)
    drawn = cv2.resize(colour(buffer, rgb, (0, 0, 0)), target, interpolation=cv2.INTER_AREA)
    cover = cv2.resize((buffer.index >= 0).astype(np.float32), target, interpolation=cv2.INTER_AREA)[..., None]
    return np.round(drawn + (1 - cover) * plain).clip(0, 255).astype(np.uint8)


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
    inside: NDArray[np.bool_] = np.asarray(np.isfinite(places.xy).all(1))
    cell = np.full(places.xy.shape, -1, np.int64)
    cell[inside] = np.round(np.clip(places.xy[inside], -2, max(camera.width, camera.height) + 2))
    inside &= (cell >= 0).all(1) & (cell < [camera.width, camera.height]).all(1)
    if usable is not None:
        inside[inside] = usable[cell[inside, 1], cell[inside, 0]]
    shown = np.flatnonzero(inside)
    hidden = ~_in_front(model.xyz[shown], layer.spacing[shown], camera, pose)
    observed = np.zeros(len(model.xyz), bool)
    observed[layer.seen[layer.starts[place] : layer.starts[place + 1]]] = True
    return shown[~hidden | observed[shown]]


def _in_front(xyz: FloatArray, spacing: FloatArray, camera: PinholeCamera, pose: FloatArray) -> NDArray[np.bool_]:
    width = min(BUFFER_WIDTH, camera.width)
    coarse = scaled_camera(camera, width, max(2, round(width * camera.height / camera.width)))
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


def _mask_path(scene: Scene, image: SceneImage) -> Path | None:
    """The field of view; the frame's own mask leaves out highlights, where points are as well."""
    return scene.field_mask or image.mask_path


def _usable(path: Path | None, where: Panel) -> NDArray[np.bool_] | None:
    """The field of view in the panel."""
    if path is None:
        return None
    mask = read_mask(path).astype(np.uint8)
    return where.cut(mask, cv2.INTER_NEAREST) > 0


def _find_scale(layers: list[Layer], settings: OverlaySettings) -> Scale | None:
    """One colour scale for the whole video and all runs; None for photo."""
    if settings.colour == "photo":
        return None
    if settings.colour == "error":
        errors = np.concatenate([layer.scene.model.error_px for layer in layers])
        return scale_of("reprojection error [px]", errors[errors >= 0])
    return _depth_scale(layers[0])


def _depth_scale(layer: Layer, frames: int = 12) -> Scale:
    model = layer.scene.model
    positions = [int(v) for v in np.linspace(0, len(layer.place) - 1, min(frames, len(layer.place)))]
    depths: list[Any] = []
    for k in (sorted(layer.place.values())[p] for p in positions):
        pose, rows = model.cam_from_world[k], layer.seen[layer.starts[k] : layer.starts[k + 1]]
        depths.append(model.xyz[rows] @ pose[2, :3] + pose[2, 3])
    # Near is warm, far is cold.
    return scale_of("depth [scene units]", np.concatenate(depths), "turbo_r")


def _named(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    return write_label(image, text, rgb=INK, box=BOX)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H.264 wants even sides: a row or column is left out."""
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
