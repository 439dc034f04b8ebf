"""Random augmentation of training images: geometry, exposure, colour, highlights, blur, noise, compression."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
FloatImage = NDArray[Any]


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the augmentation; 0 switches a part off."""

    crop: tuple[int, int] = (320, 352)
    """Height and width of a training crop in working pixels."""
    rotation_deg: float = 25.0
    """Rotation between the two images."""
    shared_rotation_deg: float = 180.0
    """Rotation that both images share, to either side."""
    flip: bool = True
    """Mirror half of the pairs."""
    scale: float = 0.25
    """Scale of a crop: its natural logarithm lies between -0.9 and 1.3 times this, for each image on its own."""
    perspective: float = 0.12
    """Largest shift of a crop's corner, as a share of its size."""
    photometric: float = 1.0
    """Factor on all changes of light, colour, sharpness and noise: how far they go, or how often they are made."""


def crop_homography(
    rng: np.random.Generator, centre: NDArray[Any], shared_angle: float, flip: bool, config: AugmentConfig
) -> NDArray[Any]:
    """Homography (3, 3) from an image to a crop that shows ``centre`` near its middle.

    Args:
        rng: Random generator.
        centre: (2,) pixel that falls within the middle half of the crop.
        shared_angle: Rotation common to both images of a pair, radians.
        flip: Mirror the crop (both images of a pair or none).
        config: Strengths.
    """
    height, width = config.crop
    angle = shared_angle + np.deg2rad(rng.uniform(-0.5, 0.5) * config.rotation_deg)
    scale = np.exp(config.scale * (rng.uniform(-0.5, 0.5) + rng.uniform(-0.4, 0.8)))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    if flip:
        turn = np.diag([-1.0, 1.0, 1.0]) @ turn
    to_origin = np.array([[1.0, 0.0, -centre[0]], [0.0, 1.0, -centre[1]], [0.0, 0.0, 1.0]])
    place = [width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 0.7)]
    to_crop = np.array([[1.0, 0.0, place[0]], [0.0, 1.0, place[1]], [0.0, 0.0, 1.0]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-1, 1, (4, 2)) * config.perspective * 0.5 * np.array([width, height])
    bend = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return bend @ to_crop @ turn @ to_origin


def warp_points(homography: NDArray[Any], xy: NDArray[Any]) -> NDArray[Any]:
    """Apply a homography (3, 3) to pixels (N, 2)."""
    h = np.c_[xy, np.ones(len(xy))] @ homography.T
    return h[:, :2] / h[:, 2:]


def elastic_map(rng: np.random.Generator, height: int, width: int, strength_px: float) -> FloatImage:
    """A smooth random displacement field (H, W, 2) of at most about ``strength_px``."""
    coarse = rng.normal(0, 0.5, (5, 5, 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(strength_px)


def photometric(image: Image, rng: np.random.Generator, strength: float) -> FloatImage:
    """Change light, colour and sharpness at random.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: Random generator.
        strength: Factor on the size of every change, or on its probability where it has no size; 1 for the full range.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    out = image.astype(np.float32) / 255.0
    if strength == 0:
        return out
    out = _light(out, rng, strength)
    if rng.random() < 0.4 * strength:
        out = _highlights(out, rng)
    out = _sharpness(out, rng, strength)
    if rng.random() < 0.1 * strength:
        out = np.repeat(out.mean(2, keepdims=True), 3, axis=2)
    noise = rng.normal(0, 1, (*out.shape[:2], 3)).astype(np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.8) * 2
    out = np.clip(out + noise * np.float32(rng.uniform(0, 0.02) * strength), 0, 1)
    if rng.random() < 0.3 * strength:
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), int(rng.integers(35, 95))]
        encoded = cv2.imencode(".jpg", (out * 255).astype(np.uint8), quality)[1]
        out = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.float32) / 255.0
    return out


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
    glare = np.zeros((height, width), np.float32)
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
