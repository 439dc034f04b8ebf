"""Draw a cloud over the frames that it was reconstructed from."""

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
from dd_sfm.io.instrument_masks import FOLDER, own_mask
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.ops.areas import Bounds, bounds_of
from dd_sfm.ops.spread import spread_positions
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.colours import ColourScale, colour_scale
from dd_sfm.viz.render.labels import draw_colour_bar, write_label
from dd_sfm.viz.render.same_video import check_same_video, undistorted_otherwise
from dd_sfm.viz.render.splat import OVERSAMPLING, project, rasterise, shade
from dd_sfm.viz.render.visibility import Layer, visible_points

COLOURS = ("depth", "error", "photo")
MARGIN_SHARE = 0.01
"""Margin around the field of view, as a share of its height."""
TEXT_RGB, BOX_RGB = (245, 245, 245), (20, 22, 26)
OUTLINE_RGB = (90, 220, 255)
"""Around instruments."""


@dataclass(frozen=True)
class OverlaySettings:
    """How to draw an overlay.

    ``colour``: depth, error or photo; ``panel``: largest width and height of a frame in pixels; ``point_size``:
    diameter of a point in pixels, None for one that suits the number of points; ``every``: draw every N-th frame;
    ``crop``: leave out what lies around the field of view.
    """

    colour: str = "depth"
    panel: tuple[int, int] = (960, 540)
    point_size: float | None = None
    every: int = 1
    crop: bool = True


@dataclass(frozen=True)
class Panel:
    """How a frame is cropped and scaled to a picture.

    ``frame``: width and height of the frame; ``area``: the part (x0, y0, x1, y1) of it that is drawn; ``size``: width
    and height of the picture.
    """

    frame: tuple[int, int]
    area: tuple[int, int, int, int]
    size: tuple[int, int]

    def crop(self, image: NDArray[Any], interpolation: int = cv2.INTER_AREA) -> NDArray[Any]:
        """Crop and resize an image (H, W[, 3]) of the frame's size."""
        x0, y0, x1, y1 = self.area
        return cv2.resize(image[y0:y1, x0:x1], self.size, interpolation=interpolation)

    def camera(self, whole: PinholeCamera) -> PinholeCamera:
        """The camera of the picture, from that of the whole frame."""
        x0, y0, x1, y1 = self.area
        # Images may be of another size than the camera of the model, as when they were shrunk to save disk space.
        return whole.fitted(self.frame).cropped((x0, y0), (x1 - x0, y1 - y0)).fitted(self.size)


def check_overlay(layers: list[Layer], settings: OverlaySettings) -> None:
    """Check that the overlay can be drawn.

    Raises:
        UsageError: If the colouring is unknown.
        InputError: If images are missing, colouring by error has no errors, or two runs are not of the same frames.
    """
    if settings.colour not in COLOURS:
        raise UsageError(f"--colour {settings.colour}: unknown; expected one of {', '.join(COLOURS)}")
    first = layers[0].scene
    _check_images(first, "beside the model. Give their folder with --images")
    for layer in layers:
        if settings.colour == "error" and not (layer.scene.model.error_px >= 0).any():
            raise InputError(f"{layer.scene.source}: has no errors of its points; use --colour depth or photo")
    for layer in layers[1:]:
        check_same_video(first, layer.scene)
        if undistorted_otherwise(first.run, layer.scene.run):
            _check_images(layer.scene, "in the run: it has undone another lens, so that its points fit on them alone")


def _check_images(scene: Scene, expected: str) -> None:
    """Check that the images of a scene are there; ``expected``: where, and what to do.

    Raises:
        InputError: If some are not.
    """
    missing = [image.name for image in scene.images if image.path is None]
    if missing:
        raise InputError(
            f"{scene.source}: {len(missing)} of {len(scene.images)} images not found ('{missing[0]}' is one); expected "
            f"them {expected}"
        )


def overlay_frames(layers: list[Layer], settings: OverlaySettings) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a video: the plain frame beside the frame with its cloud, or two clouds side by side.

    Only one frame is in memory at a time. All pictures have the same size, with even sides.
    """
    scale = _find_scale(layers, settings)
    first = layers[0].scene
    fields = [read_mask(layer.scene.field_mask) if layer.scene.field_mask else None for layer in layers]
    own = [undistorted_otherwise(first.run, layer.scene.run) for layer in layers]
    size: tuple[int, ...] | None = None
    for image in overlay_images(first, settings):
        plain, panel = _plain_frame(image, fields[0], settings)
        pictures = [] if len(layers) > 1 else [_labelled(plain, image.called)]
        for layer, field, has_own in zip(layers, fields, own, strict=True):
            index = layer.image_index.get(image.number)
            if has_own and index is not None:
                # Without its distortion by another lens a frame is another picture, and its points fit on that alone.
                image_here = layer.scene.images[index]
                plain_here, panel_here = _plain_frame(image_here, field, settings)
                drawn = _layer_picture(layer, scale, image_here, plain_here, panel_here, settings)
                pictures.append(_letterboxed(drawn, plain.shape))
            else:
                pictures.append(_layer_picture(layer, scale, image, plain, panel, settings))
        joined = _even(np.concatenate(pictures, 1))
        size = size or joined.shape
        yield joined if joined.shape == size else _letterboxed(joined, size)


def _plain_frame(
    image: SceneImage, field: NDArray[np.bool_] | None, settings: OverlaySettings
) -> tuple[NDArray[np.uint8], Panel]:
    """A frame as it is drawn, with instruments outlined, and how it was cropped and scaled."""
    assert image.path is not None
    picture = read_image(image.path)
    panel = _panel_of(picture.shape, field, settings)
    return _outlined(panel.crop(picture), instruments_in(image, panel)), panel


def overlay_images(scene: Scene, settings: OverlaySettings) -> list[SceneImage]:
    """The images that the overlay shows, in order."""
    return list(scene.images[:: settings.every])


def _panel_of(shape: tuple[int, ...], field: NDArray[np.bool_] | None, settings: OverlaySettings) -> Panel:
    """How to crop a frame of a shape to its field of view, and to scale it to the size of the settings."""
    height, width = shape[:2]
    box = Bounds(0, 0, width, height)
    if settings.crop and field is not None and field.shape == (height, width) and field.any():
        box = bounds_of(field)
        box = box.grown(round(MARGIN_SHARE * (box.height - 1)), (width, height))
    scale = min(1.0, settings.panel[0] / box.width, settings.panel[1] / box.height)
    size = max(2, round(box.width * scale)), max(2, round(box.height * scale))
    return Panel((width, height), box, size)


def _layer_picture(
    layer: Layer,
    scale: ColourScale | None,
    image: SceneImage,
    plain: NDArray[np.uint8],
    panel: Panel,
    settings: OverlaySettings,
) -> NDArray[np.uint8]:
    """The cloud of a layer over the plain picture of a frame."""
    index = layer.image_index.get(image.number)
    if index is None:
        return _labelled(plain, f"{layer.label}: {image.called} is not registered")
    model = layer.scene.model
    # Without a calibration every run finds its own focal length.
    camera = panel.camera(layer.scene.images[index].camera)
    field, covered = _field_of_view(_mask_path(layer.scene, image), panel), instruments_in(image, panel)
    # What lies behind an instrument is not seen.
    field = field if covered is None or field is None else field & ~covered
    visible = visible_points(layer, index, camera, field)
    if scale is None:
        rgb = model.rgb[visible]
    elif settings.colour == "error":
        rgb = scale.rgb(model.error_px[visible])
    else:
        pose = model.cam_from_world[index]
        rgb = scale.rgb(world_to_camera(model.xyz[visible], pose)[:, 2] * layer.scale)
    size = settings.point_size or _point_size(len(model.xyz), camera)
    result = _draw(plain, model.xyz[visible], rgb, model.cam_from_world[index], camera, size)
    result = _labelled(result, f"{layer.label}: {len(visible):,} points")
    return draw_colour_bar(result, scale, rgb=TEXT_RGB, box=BOX_RGB) if scale is not None else result


def _point_size(count: int, camera: PinholeCamera) -> float:
    """Diameter of a point in pixels: large enough to be seen, smaller in dense clouds, where it would hide detail."""
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
    """Draw round points with smooth edges over a picture."""
    large = camera.fitted((camera.width * OVERSAMPLING, camera.height * OVERSAMPLING))
    buffer = rasterise(project(xyz, large, pose), large, np.full(len(xyz), size / 2 * OVERSAMPLING))
    target = camera.size
    drawn = cv2.resize(shade(buffer, rgb, (0, 0, 0)), target, interpolation=cv2.INTER_AREA)
    cover = cv2.resize((buffer.index >= 0).astype(np.float32), target, interpolation=cv2.INTER_AREA)[..., None]
    return np.round(drawn + (1 - cover) * plain).clip(0, 255).astype(np.uint8)


def _mask_path(scene: Scene, image: SceneImage) -> Path | None:
    """Mask of the field of view; an image's own mask also leaves out highlights, where points may be drawn."""
    return scene.field_mask or image.mask_path


def instruments_in(image: SceneImage, panel: Panel) -> NDArray[np.bool_] | None:
    """Where a run has masked instruments, (H, W) in the picture; None for images without."""
    if image.mask_path is None or image.mask_path.parent.name != FOLDER:
        return None
    whole, left = (_field_of_view(path, panel) for path in (own_mask(image.mask_path), image.mask_path))
    return None if whole is None or left is None else whole & ~left


def _outlined(picture: NDArray[np.uint8], area: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """A picture with the outline of an area."""
    if area is None:
        return picture
    contours, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture, contours, -1, OUTLINE_RGB, 1, cv2.LINE_AA), np.uint8)


def _field_of_view(path: Path | None, panel: Panel) -> NDArray[np.bool_] | None:
    """The field of view (H, W) in the picture; None without a mask."""
    if path is None:
        return None
    mask = read_mask(path).astype(np.uint8)
    if mask.shape != panel.frame[::-1]:
        # The images were shrunk, but not the masks.
        mask = cv2.resize(mask, panel.frame, interpolation=cv2.INTER_NEAREST)
    return panel.crop(mask, cv2.INTER_NEAREST) > 0


def _find_scale(layers: list[Layer], settings: OverlaySettings) -> ColourScale | None:
    """The colour scale for the whole video and all runs; None for photo."""
    if settings.colour == "photo":
        return None
    if settings.colour == "error":
        errors = np.concatenate([layer.scene.model.error_px for layer in layers])
        return colour_scale("reprojection error [px]", errors[errors >= 0])
    return _depth_scale(layers[0])


def _depth_scale(layer: Layer, frames: int = 12) -> ColourScale:
    """The colour scale of the depths in some frames, evenly spread over the video."""
    model = layer.scene.model
    positions = spread_positions(len(layer.image_index), frames)
    depths: list[Any] = []
    for k in (sorted(layer.image_index.values())[p] for p in positions):
        pose, rows = model.cam_from_world[k], layer.observed_in(k)
        # A model may have points without observations.
        depth = world_to_camera(model.xyz[rows] if len(rows) else model.xyz, pose)[:, 2]
        depths.append(depth[depth > 0])
    metric = layer.scene.metric
    unit = "scene units" if metric is None else metric.unit
    # Reversed, so that near points have warm colours.
    return colour_scale(f"depth [{unit}]", np.concatenate(depths), "turbo_r")


def _labelled(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    return write_label(image, text, rgb=TEXT_RGB, box=BOX_RGB)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave out a row or column where a side is odd, as H.264 needs even sides."""
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def _letterboxed(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Fit an image into another shape (H, W, 3) with black borders, for models whose images differ in size."""
    scale = min(shape[0] / image.shape[0], shape[1] / image.shape[1])
    height, width = min(shape[0], round(image.shape[0] * scale)), min(shape[1], round(image.shape[1] * scale))
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    result = np.zeros(shape, np.uint8)
    result[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return result
