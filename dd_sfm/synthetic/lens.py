"""Image formation: exposure, tone curve, blur, bloom, sharpening, noise and the round field of view."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import ConfigError
from dd_sfm.io.lens import Lens
from dd_sfm.ops.areas import bounds_of
from dd_sfm.synthetic.cameras import camera_of, round_field
from dd_sfm.synthetic.settings import LensSettings, SynthSettings

SMALL_STEP = 1e-5
"""Of rays in radians, to take a derivative."""
MOST_OFF_AXIS_DEG = 85.0
"""The field ends there: depth, which is measured along the axis, tells little of what is further out."""


@dataclass(frozen=True)
class Optics:
    """The camera of a clip.

    ``lens``; ``mask`` (H, W) bool: the field of view; ``rays`` (M, 3) float32 directions with z = 1 of the pixels
    inside it, in row order; ``box``: the field's rows and columns (y0, y1, x0, x1); ``focal`` (M,) float32: pixels
    there that 1 mm of tissue at a depth of 1 mm takes; ``blur_lens``: by which tissue is seen to move.

    Clips of ``lens.distortion`` take the last two from the camera without it: they look as they always did.
    """

    lens: Lens
    mask: NDArray[np.bool_]
    rays: NDArray[np.float32]
    box: tuple[int, int, int, int]
    focal: NDArray[np.float32]
    blur_lens: Lens

    @property
    def scale(self) -> float:
        """Image height relative to 540 pixels."""
        return len(self.mask) / 540

    @property
    def field(self) -> NDArray[np.bool_]:
        """The mask of the box."""
        y0, y1, x0, x1 = self.box
        return self.mask[y0:y1, x0:x1]

    def to_image(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values (M, ...) of the pixels inside the field as an image of the box, zero outside."""
        image = np.zeros((*self.field.shape, *values.shape[1:]), np.float32)
        image[self.field] = values
        return image


def make_optics(settings: SynthSettings) -> Optics:
    """The camera that settings describe.

    Raises:
        ConfigError: If the distortion folds the field of view, or the lens shows nothing of it.
    """
    lens = camera_of(settings)
    mask = round_field(lens, settings.lens.circle)
    pixels = np.argwhere(mask)[:, ::-1].astype(np.float64)
    rays = lens.unproject(pixels)
    if not settings.lens.camera and not np.isfinite(rays).all():
        raise _folded(settings.lens, lens, pixels)
    # A lens as it was calibrated shows what it shows: NaN compares as not seen.
    seen = rays[:, 2] > np.cos(np.radians(MOST_OFF_AXIS_DEG))
    if not seen.any():
        raise ConfigError(
            f"lens.camera {settings.lens.camera}: shows nothing in the {lens.width}x{lens.height} pixels of the clip; "
            "expected a camera of pictures of this size"
        )
    mask[mask] = seen
    rays = rays[seen]
    left, top, right, bottom = bounds_of(mask)
    box = top, bottom, left, right
    seen_by = lens if settings.lens.camera else Lens.of(lens.pinhole)
    return Optics(lens, mask, (rays / rays[:, 2:]).astype(np.float32), box, _focal(seen_by, rays), seen_by)


def _folded(settings: LensSettings, lens: Lens, pixels: NDArray[np.float64]) -> ConfigError:
    rim = float(np.linalg.norm(lens.pinhole.normalise(pixels), axis=1).max())
    # r + k1 r^3 turns back at 2 / (3 sqrt(-3 k1)); a little below that it is too flat to be inverted well.
    least = np.ceil(-0.98 * 4 / 27 / rim**2 * 1000) / 1000
    return ConfigError(
        f"lens.distortion {list(settings.distortion)}: the image folds over itself in the field; expected k1 of "
        f"{least:g} or more with k2 0. Reduce --distortion or lens.field_of_view_deg"
    )


def _focal(lens: Lens, rays: NDArray[np.float64]) -> NDArray[np.float32]:
    """Pixels (M,) of 1 mm at a depth of 1 mm along unit rays (M, 3).

    It lies across the ray; before a pinhole, whose clips have always been so, across the axis.
    """
    if not lens.has_distortion:
        return np.full(len(rays), lens.pinhole.fx, np.float32)
    # Two steps across the ray, at right angles; those of the ray itself are no step.
    first = np.cross(rays, [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    steps = np.stack([first, np.cross(rays, first)]) * SMALL_STEP
    (ax, ay), (bx, by) = ((lens.project_unlimited(rays + s) - lens.project_unlimited(rays - s)).T for s in steps)
    per_square = np.abs(ax * by - ay * bx) / (2 * SMALL_STEP) ** 2
    return np.asarray(np.sqrt(per_square) * rays[:, 2], np.float32)


def tone_map(light: NDArray[Any], exposure: float) -> NDArray[np.float32]:
    """Exposed light (..., 3) -> display values in [0, 1]: a steep shoulder, so that near walls blow out."""
    x = np.maximum(light * np.float32(exposure), 0.0)
    return (np.minimum(1.06 * (1 - np.exp(-1.25 * x)), 1.0) ** (1 / 1.75)).astype(np.float32)


def exposure_for(light: NDArray[Any], aim: float) -> float:
    """The exposure (a factor) that gives linear light (N, 3) a mean display grey of ``aim``."""
    low, high = 1e-4, 1e6
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if tone_map(light, middle).mean() < aim else (low, middle)
    return float(np.sqrt(low * high))


def form_image(
    light: NDArray[Any],
    depth: NDArray[Any],
    mask: NDArray[np.bool_],
    flow: NDArray[Any],
    exposure: float,
    lens: LensSettings,
    scale: float,
    rng: np.random.Generator,
    extra_blur_px960: float = 0.0,
) -> NDArray[np.uint8]:
    """Form a video frame from linear light.

    Args:
        light: Linear light (H, W, 3) of the box around the field of view.
        depth: (H, W) in mm; 0 outside.
        mask: (H, W) field of view.
        flow: Motion since the frame before (H, W, 2) in pixels.
        exposure: Factor on the light.
        lens: The lens.
        scale: Image height relative to 540.
        rng: Draws the noise.
        extra_blur_px960: Blur of the whole frame.

    Returns:
        RGB (H, W, 3) uint8, black outside the mask.
    """
    light = _fill_outside(light, mask)
    near = np.clip(1.6 * (lens.focus / np.maximum(depth, 0.5) - 1.0), 0, 1)
    near = cv2.GaussianBlur(near.astype(np.float32), (0, 0), 4 * scale)[..., None]
    light = cv2.GaussianBlur(light, (0, 0), 0.42 * scale + 0.05)
    light += near * (cv2.GaussianBlur(light, (0, 0), max(lens.defocus_px960 * scale, 0.1) * 1.6) - light)
    light = _motion_blur(light, flow, lens.motion_blur)
    if extra_blur_px960 > 0.05:
        light = cv2.GaussianBlur(light, (0, 0), extra_blur_px960 * scale)
    bright = np.maximum(light * np.float32(exposure) - 1.6, 0)
    light = light + 0.06 / np.float32(exposure) * cv2.GaussianBlur(bright, (0, 0), 7 * scale)
    image = _chromatic(tone_map(light, exposure), lens.chromatic_px960 * scale)
    image += _grain(image, lens.grain, scale, rng)
    image += lens.sharpen * (image - cv2.GaussianBlur(image, (0, 0), 1.1 * scale))
    edge = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8 * scale)[..., None]
    return np.clip(np.round(np.clip(image, 0, 0.95) * edge * 255), 0, 255).astype(np.uint8)


def _fill_outside(light: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Continue the image beyond the rim, so that blur does not pull black in."""
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 6)[..., None]
    spread = cv2.GaussianBlur(light * mask[..., None], (0, 0), 6) / np.maximum(weight, 1e-3)
    return np.where(mask[..., None], light, spread).astype(np.float32)


def _motion_blur(light: NDArray[Any], flow: NDArray[Any], shutter: float) -> NDArray[np.float32]:
    if shutter <= 0 or not flow.any():
        return light
    y, x = np.mgrid[: light.shape[0], : light.shape[1]].astype(np.float32)
    total = light.copy()
    for t in (-0.5, -0.25, 0.25, 0.5):
        total += cv2.remap(
            light, x + t * shutter * flow[..., 0], y + t * shutter * flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    return np.asarray(total / 5, np.float32)


def _chromatic(image: NDArray[np.float32], shift_px: float) -> NDArray[np.float32]:
    if shift_px <= 0:
        return image
    height, width = image.shape[:2]
    result = image.copy()
    for channel, sign in ((0, 1.0), (2, -1.0)):
        zoom = 1 + sign * shift_px / height
        matrix = np.array([[zoom, 0, (1 - zoom) * width / 2], [0, zoom, (1 - zoom) * height / 2]])
        result[..., channel] = cv2.warpAffine(
            np.ascontiguousarray(image[..., channel]), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE
        )
    return result


def _grain(image: NDArray[Any], levels: float, scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of the sensor: mostly of brightness, a little wider than a pixel, stronger in the dark."""
    shape = image.shape[:2]
    luma = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.55 * max(scale, 0.6))
    chroma = cv2.GaussianBlur(rng.standard_normal((*shape, 3), np.float32), (0, 0), 1.2 * max(scale, 0.6))
    noise = luma[..., None] / luma.std() + 0.6 * chroma / chroma.std()
    strength = levels / 255 * (1.25 - 0.6 * image.mean(2, keepdims=True))
    return np.asarray(noise * strength, np.float32)
