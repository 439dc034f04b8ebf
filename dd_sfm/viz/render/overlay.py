"""The cloud drawn over the frames it was made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.errors import InputError, UsageError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.colours import Scale, scale_of
from dd_sfm.viz.render.labels import draw_scale, write_label
from dd_sfm.viz.render.same_video import check_same_video
from dd_sfm.viz.render.splat import colour, project, rasterise
from dd_sfm.viz.render.visibility import Layer, visible_points

COLOURS = ("depth", "error", "photo")
OVERSAMPLING = 2
MARGIN = 0.01
"""Around the field of view, as a share of its height."""
INK, BOX = (245, 245, 245), (20, 22, 26)


@dataclass(frozen=True)
class OverlaySettings:
    """``panel``: largest width and height of a frame; ``point_size``: diameter in pixels of the panel, None for one
    that suits the number of points; ``crop``: leave out what lies around the field of view.
    """  # fmt: skip

    colour: str = "depth"
    panel: tuple[int, int] = (960, 540)
    point_size: float | None = None
    every: int = 1
    crop: bool = True


@dataclass(frozen=True)
class Panel:
    """Where a frame is drawn: the part ``area`` (x0, y0, x1, y1) of it, as a picture of ``size``.

    ``frame`` and ``size``: width and height, of the frame and of the picture.
    """

    frame: tuple[int, int]
    area: tuple[int, int, int, int]
    size: tuple[int, int]

    def cut(self, image: NDArray[Any], interpolation: int = cv2.INTER_AREA) -> NDArray[Any]:
        """The part of an image (H, W[, 3]) of the frame's size, resized."""
        x0, y0, x1, y1 = self.area
        return cv2.resize(image[y0:y1, x0:x1], self.size, interpolation=interpolation)

    def camera(self, whole: PinholeCamera) -> PinholeCamera:
        """The picture's camera, from that of the whole frame."""
        x0, y0, x1, y1 = self.area
        # The model's images may be of another size than its camera, as when they were shrunk for the disk.
        return whole.fitted(self.frame).cropped((x0, y0), (x1 - x0, y1 - y0)).fitted(self.size)


def check_overlay(layers: list[Layer], settings: OverlaySettings) -> None:
    """See that there is something to draw.

    Raises:
        UsageError: If the colouring is unknown.
        InputError: If images are missing, no error is known to colour by, or two runs are not of the same frames.
    """
    if settings.colour not in COLOURS:
        raise UsageError(f"--colour {settings.colour}: unknown; expected one of {', '.join(COLOURS)}")
    first = layers[0].scene
    missing = [image.name for image in first.images if image.path is None]
    if missing:
        raise InputError(
            f"{first.source}: {len(missing)} of {len(first.images)} images not found ('{missing[0]}' is one); expected "
            "them beside the model. Give their folder with --images"
        )
    for layer in layers:
        if settings.colour == "error" and not (layer.scene.model.error_px >= 0).any():
            raise InputError(f"{layer.scene.source}: has no errors of its points; use --colour depth or photo")
    for layer in layers[1:]:
        check_same_video(first, layer.scene)


def overlay_frames(layers: list[Layer], settings: OverlaySettings) -> Iterator[NDArray[np.uint8]]:
    """Frame after frame: the plain one and the cloud over it, or two clouds side by side.

    Only one frame is in memory at a time. All pictures have one even size.
    """
    scale = _find_scale(layers, settings)
    first = layers[0].scene
    field = read_mask(first.field_mask) if first.field_mask else None
    size: tuple[int, ...] | None = None
    for image in chosen_images(first, settings):
        assert image.path is not None
        picture = read_image(image.path)
        where = _panel_of(picture.shape, field, settings)
        plain = where.cut(picture)
        panels = [] if len(layers) > 1 else [_named(plain, f"frame {image.number}")]
        panels += [_panel(layer, scale, image, plain, where, settings) for layer in layers]
        joined = _even(np.concatenate(panels, 1))
        size = size or joined.shape
        yield joined if joined.shape == size else _fitted(joined, size)


def chosen_images(scene: Scene, settings: OverlaySettings) -> list[SceneImage]:
    """The images of a video, in order."""
    return list(scene.images[:: settings.every])


def _panel_of(shape: tuple[int, ...], field: NDArray[np.bool_] | None, settings: OverlaySettings) -> Panel:
    height, width = shape[:2]
    x0, y0, x1, y1 = 0, 0, width, height
    if settings.crop and field is not None and field.shape == (height, width) and field.any():
        rows, columns = np.flatnonzero(field.any(1)), np.flatnonzero(field.any(0))
        margin = round(MARGIN * (rows[-1] - rows[0]))
        x0, x1 = max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)
        y0, y1 = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)
    scale = min(1.0, settings.panel[0] / (x1 - x0), settings.panel[1] / (y1 - y0))
    size = max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale))
    return Panel((width, height), (x0, y0, x1, y1), size)


def _panel(
    layer: Layer,
    scale: Scale | None,
    image: SceneImage,
    plain: NDArray[np.uint8],
    where: Panel,
    settings: OverlaySettings,
) -> NDArray[np.uint8]:
    """The cloud over the plain panel of a frame."""
    place = layer.place.get(image.number)
    if place is None:
        return _named(plain, f"{layer.label}: frame {image.number} is not registered")
    model = layer.scene.model
    # Without a calibration every run finds a focal length of its own.
    camera = where.camera(layer.scene.images[place].camera)
    shown = visible_points(layer, place, camera, _usable(_mask_path(layer.scene, image), where))
    if scale is None:
        rgb = model.rgb[shown]
    elif settings.colour == "error":
        rgb = scale.rgb(model.error_px[shown])
    else:
        pose = model.cam_from_world[place]
        rgb = scale.rgb(world_to_camera(model.xyz[shown], pose)[:, 2] * layer.unit)
    size = settings.point_size or _point_size(len(model.xyz), camera)
    result = _draw(plain, model.xyz[shown], rgb, model.cam_from_world[place], camera, size)
    result = _named(result, f"{layer.label}: {len(shown):,} points")
    return draw_scale(result, scale, rgb=INK, box=BOX) if scale is not None else result


def _point_size(count: int, camera: PinholeCamera) -> float:
    """Diameter in pixels: large enough to be seen, and smaller for dense clouds, whose detail it would swallow."""
    largest = min(max(2.0, camera.height / 180), 3.0)
    return float(np.clip(1.3 * np.sqrt(camera.width * camera.height / count), 1.5, largest))


def _draw(
    plain: NDArray[np.uint8],
    xyz: FloatArray,
    rgb: NDArray[np.uint8],
    pose: FloatArray,
    camera: PinholeCamera,
    size: float,
) -> NDArray[np.uint8]:
    """Round points with soft edges over a picture."""
    large = camera.scaled(OVERSAMPLING)
    buffer = rasterise(project(xyz, large, pose), large, np.full(len(xyz), size / 2 * OVERSAMPLING))
    target = camera.size
    drawn = cv2.resize(colour(buffer, rgb, (0, 0, 0)), target, interpolation=cv2.INTER_AREA)
    cover = cv2.resize((buffer.index >= 0).astype(np.float32), target, interpolation=cv2.INTER_AREA)[..., None]
    return np.round(drawn + (1 - cover) * plain).clip(0, 255).astype(np.uint8)


def _mask_path(scene: Scene, image: SceneImage) -> Path | None:
    """The field of view; the frame's own mask leaves out highlights, where points are as well."""
    return scene.field_mask or image.mask_path


def _usable(path: Path | None, where: Panel) -> NDArray[np.bool_] | None:
    """The field of view in the panel."""
    if path is None:
        return None
    mask = read_mask(path).astype(np.uint8)
    if mask.shape != where.frame[::-1]:
        # The images were shrunk, the masks were not.
        mask = cv2.resize(mask, where.frame, interpolation=cv2.INTER_NEAREST)
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
        # A model without observations still has points before its cameras.
        depth = world_to_camera(model.xyz[rows] if len(rows) else model.xyz, pose)[:, 2]
        depths.append(depth[depth > 0])
    # Near is warm, far is cold.
    return scale_of("depth [scene units]", np.concatenate(depths), "turbo_r")


def _named(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    return write_label(image, text, rgb=INK, box=BOX)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H.264 wants even sides: a row or column is left out."""
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def _fitted(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An image in the middle of one of another shape (H, W, 3), for models whose images differ in size."""
    scale = min(shape[0] / image.shape[0], shape[1] / image.shape[1])
    height, width = min(shape[0], round(image.shape[0] * scale)), min(shape[1], round(image.shape[1] * scale))
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    result = np.zeros(shape, np.uint8)
    result[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return result
