"""Image formation: exposure, tone curve, blur, bloom, sharpening, noise and the round field of view."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import ConfigError
from dd_sfm.ops.radial import distort, undistort
from dd_sfm.synthetic.settings import LensSettings, SynthSettings

MAX_RAY_ERROR_PX = 0.1
"""Largest reprojection error of an undistorted ray."""


@dataclass(frozen=True)
class Optics:
    """The camera of a clip.

    ``camera`` without its ``distortion`` (4,), k1, k2, p1, p2 of OpenCV's model; ``mask`` (H, W) bool: the field of
    view; ``rays`` (M, 3) float32 directions with z = 1 of the pixels inside it, in row order; ``box``: the field's rows
    and columns (y0, y1, x0, x1).
    """

    camera: PinholeCamera
    distortion: NDArray[np.float64]
    mask: NDArray[np.bool_]
    rays: NDArray[np.float32]
    box: tuple[int, int, int, int]

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
        ConfigError: If the distortion folds the field of view.
    """
    width, height, lens = settings.width, settings.height, settings.lens
    focal = 0.5 * height / np.tan(np.radians(lens.field_of_view_deg) / 2)
    # Real scopes sit a little off the sensor's centre.
    cx, cy = (width - 1) / 2 - 0.02 * width, (height - 1) / 2 + 0.004 * height
    camera = PinholeCamera(width, height, float(focal), float(focal), cx, cy)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    mask = np.hypot(x - cx, y - cy) <= 0.5 * lens.circle * height * 1.035
    mask &= (y >= 0.016 * height) & (y <= height * 0.985)
    distortion = np.array([*lens.distortion, 0.0, 0.0])
    pixels = np.stack([x[mask], y[mask]], 1)
    if distortion.any():
        flat = undistort(pixels, camera, distortion)
        _check_rays(flat, pixels, camera, distortion)
    else:
        flat = camera.normalise(pixels)
    rays = np.column_stack([flat, np.ones(len(flat))]).astype(np.float32)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Optics(camera, distortion, mask, rays, (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))


def _check_rays(flat: NDArray[Any], pixels: NDArray[Any], camera: PinholeCamera, distortion: NDArray[Any]) -> None:
    """See that undistorted places (M, 2) lead back to their pixels (M, 2)."""
    back = camera.denormalise(distort(flat, distortion))
    error_px = float(np.abs(back - pixels).max())
    # Not so for NaN either.
    if error_px <= MAX_RAY_ERROR_PX:
        return
    rim = float(np.linalg.norm(camera.normalise(pixels), axis=1).max())
    # r + k1 r^3 turns back at 2 / (3 sqrt(-3 k1)); a little below that it is too flat to be inverted well.
    least = np.ceil(-0.98 * 4 / 27 / rim**2 * 1000) / 1000
    raise ConfigError(
        f"lens.distortion {distortion[:2].tolist()}: the image folds over itself in the field (rays off by up to "
        f"{error_px:.1f} px); expected k1 of {least:g} or more with k2 0. Reduce --distortion or lens.field_of_view_deg"
    )


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
