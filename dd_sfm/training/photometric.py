"""Random changes of light, colour, sharpness and noise of training images, and what is laid over them."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.pixels import inside_mask
from dd_sfm.training.augment import AugmentConfig, FloatImage, Image

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
MOVING = 0.2
"""Share of the images that are blurred by the scope's motion."""


@dataclass(frozen=True)
class Recording:
    """What all frames of a recording share.

    ``colours`` (3, 3): from the colours of one camera to those of another, None for no change; ``quality``: of the
    JPEG that stands for a compressed stream, 0 for none; ``text`` (H, W) float32 in [0, 1]: how much burnt-in text
    covers, None for none; ``ink`` (3,): its colour.
    """

    colours: FloatImage | None = None
    quality: int = 0
    text: FloatImage | None = None
    ink: FloatImage | None = None

    def covers(self, xy: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels (N, 2) of a crop lie below text, or so near that its strokes are seen instead."""
        if self.text is None:
            return np.zeros(len(xy), bool)
        near = cv2.dilate(self.text, np.ones((5, 5), np.uint8))
        return inside_mask(near > 0.05, xy)


def draw_recording(rng: np.random.Generator, config: AugmentConfig) -> Recording:
    """A camera, its compression and what it writes into the picture."""
    colours = text = ink = None
    quality = 0
    if config.camera > 0:
        colours = _colours(rng, config.camera)
    if rng_share(rng, config.compression):
        quality = int(rng.integers(12, 45))
    if rng_share(rng, config.overlay):
        text = _text(rng, *config.crop)
        ink = rng.choice(np.array([[1, 1, 1], [1, 1, 0.2], [0.2, 1, 0.2], [0, 0, 0]], np.float32))
    return Recording(colours, quality, text, ink)


def rng_share(rng: np.random.Generator, share: float) -> bool:
    """True in a share of the draws; draws nothing for a share of 0, so that what follows stays as it was."""
    return share > 0 and bool(rng.random() < share)


def recorded(
    image: Image, rng: np.random.Generator, config: AugmentConfig, recording: Recording | None = None
) -> FloatImage:
    """An image as another recording would show it.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: Random generator.
        config: Strengths.
        recording: What both images of a pair share; None for nothing.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    recording = recording or Recording()
    out = image.astype(np.float32) / 255.0
    if rng_share(rng, config.recesses):
        out = _recess(out, rng)
    if recording.colours is not None:
        out = np.clip(out @ recording.colours.T, 0, 1).astype(np.float32)
    if config.motion_blur_px > 0 and rng.random() < MOVING:
        out = _moved(out, rng.uniform(1, max(1.0, config.motion_blur_px)), rng.uniform(0, np.pi))
    out = photometric(out, rng, config.photometric)
    if recording.text is not None and recording.ink is not None:
        out = out + recording.text[..., None] * (recording.ink - out)
    return _compressed(out, recording.quality) if recording.quality else out


def photometric(image: FloatImage, rng: np.random.Generator, strength: float) -> FloatImage:
    """Change light, colour and sharpness at random.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        rng: Random generator.
        strength: Factor on the size of every change, or on its probability where it has no size; 1 for the full range.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    if strength == 0:
        return image
    out = _light(image, rng, strength)
    if rng.random() < 0.4 * strength:
        out = _highlights(out, rng)
    out = _sharpness(out, rng, strength)
    if rng.random() < 0.1 * strength:
        out = np.repeat(out.mean(2, keepdims=True), 3, axis=2)
    noise = rng.normal(0, 1, (*out.shape[:2], 3)).astype(np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.8) * 2
    out = np.clip(out + noise * np.float32(rng.uniform(0, 0.02) * strength), 0, 1)
    return _compressed(out, int(rng.integers(35, 95))) if rng.random() < 0.3 * strength else out


def _compressed(image: FloatImage, quality: int) -> FloatImage:
    """An image after a JPEG: blocks of 8 x 8 as those of a video stream, and colour at half resolution."""
    encoded = cv2.imencode(
        ".jpg", np.ascontiguousarray((image * 255).astype(np.uint8)[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.float32)[..., ::-1] / 255.0


def _colours(rng: np.random.Generator, strength: float) -> FloatImage:
    """A matrix from the colours of one camera to those of another: white balance, mixed channels, saturation."""
    grey = np.full((3, 3), 1 / 3)
    saturation = np.exp(rng.normal(0, 0.35 * strength))
    mixed = np.eye(3) + rng.normal(0, 0.06 * strength, (3, 3))
    balance = np.exp(rng.normal(0, 0.22 * strength, 3))
    # Rows that sum to the balance: grey stays grey but for the white balance.
    matrix = (saturation * np.eye(3) + (1 - saturation) * grey) @ (mixed / mixed.sum(1, keepdims=True))
    return (balance[:, None] * matrix).astype(np.float32)


def _recess(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Light that falls off to one side or from the middle on, with the noise of a gain that is up."""
    height, width = image.shape[:2]
    column, row = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        far = 0.5 + 0.5 * (np.cos(angle) * column + np.sin(angle) * row)
    else:
        far = np.hypot(column - rng.uniform(-0.6, 0.6), row - rng.uniform(-0.6, 0.6))
        far = far if rng.random() < 0.5 else 1.2 - far
    darkest = rng.uniform(1.0, 3.0)
    gain = np.exp(-darkest * np.clip(far, 0, 1.2)).astype(np.float32)[..., None]
    noise = cv2.GaussianBlur(rng.normal(0, 1, image.shape).astype(np.float32), (0, 0), 0.7)
    # Light falls off linearly in the sensor, whose tone curve raises the dark.
    return np.clip(image * gain**0.7 + noise * np.float32(rng.uniform(0.004, 0.02)), 0, 1)


def _moved(image: FloatImage, length: float, angle: float) -> FloatImage:
    """Blurred along a straight line of some length in pixels."""
    size = int(np.ceil(length)) // 2 * 2 + 3
    kernel = np.zeros((size, size), np.float32)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    centre = (size - 1) / 2
    # Ends in sixteenths of a pixel.
    ends = [tuple(int(v) for v in np.round(16 * (centre + sign * half))) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    kernel[size // 2, size // 2] = max(kernel[size // 2, size // 2], 1e-3)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _text(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """A few words and numbers as they are burnt into recordings (H, W) in [0, 1]."""
    layer = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 5)):
        letters = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVWXYZ0123456789:/-. "), rng.integers(3, 14)))
        place = int(rng.integers(-20, width - 20)), int(rng.integers(12, height))
        size, thickness = float(rng.uniform(0.3, 1.1)), int(rng.integers(1, 3))
        cv2.putText(layer, letters, place, int(rng.choice(FONTS)), size, 255, thickness, cv2.LINE_AA)
    return layer.astype(np.float32) * np.float32(rng.uniform(0.6, 1.0) / 255)


def _light(image: FloatImage, rng: np.random.Generator, strength: float) -> FloatImage:
    height, width = image.shape[:2]
    field = rng.normal(0, 0.35 * strength, (4, 4)).astype(np.float32)
    field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    gain = np.exp(rng.normal(0, 0.2 * strength) + field)[..., None]
    cast = np.exp(rng.normal(0, 0.07 * strength, 3)).astype(np.float32)
    gamma = np.exp(rng.normal(0, 0.2 * strength))
    return np.clip(np.power(np.maximum(image, 0), gamma) * gain * cast, 0, 1).astype(np.float32)


def _highlights(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    height, width = image.shape[:2]
    glare = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 7)):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(1, 14)), int(rng.integers(1, 6)))
        cv2.ellipse(glare, centre, axes, float(rng.uniform(0, 180)), 0, float(rng.uniform(90, 360)), 1.0, -1)
    glare = cv2.GaussianBlur(glare, (0, 0), float(rng.uniform(0.5, 2.0)))[..., None]
    return np.minimum(image + glare * np.float32(rng.uniform(0.6, 1.5)), 1.0)


def _sharpness(image: FloatImage, rng: np.random.Generator, strength: float) -> FloatImage:
    choice = rng.random()
    if choice < 0.3 * strength:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.6)))
    if choice < 0.45 * strength:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        tip = rng.integers(0, length, 2)
        cv2.line(kernel, (int(tip[0]), int(tip[1])), (length - 1 - int(tip[0]), length - 1 - int(tip[1])), 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if choice < 0.6 * strength:
        blurred = cv2.GaussianBlur(image, (0, 0), 1.5)
        return np.clip(image + np.float32(rng.uniform(0.2, 1.0)) * (image - blurred), 0, 1)
    return image
