"""Random augmentation of training pairs: its strengths, and the geometry of a crop."""

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
    lens: float = 0.0
    """Largest radial bend of a crop, as by another lens: how far its corners move, as a share of their distance."""
    deformation_px: float = 0.0
    """About how far tissue moves between the two images, smoothly, in working pixels."""
    camera: float = 0.0
    """How far the colours of another camera are off: white balance, mixed channels, saturation; 1 for a strong cast."""
    recesses: float = 0.0
    """Share of the images that fall off into darkness, with the noise of a raised gain."""
    motion_blur_px: float = 0.0
    """Longest blur by a moving scope, of a fifth of the images; on top of what ``photometric`` does."""
    compression: float = 0.0
    """Share of the images that are compressed as strongly as streams are: blocks, and colour at half resolution."""
    overlay: float = 0.0
    """Share of the pairs with burnt-in text, at a fixed place of both images; points below it are left out."""


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


def displacement(rng: np.random.Generator, config: AugmentConfig) -> FloatImage | None:
    """How far (H, W, 2) from a pixel of a crop its content comes: the bend of a lens, and tissue that moves.

    None where neither is asked for.
    """
    if config.lens == 0 and config.deformation_px == 0:
        return None
    height, width = config.crop
    shift = np.zeros((height, width, 2), np.float32)
    if config.deformation_px > 0:
        shift += elastic_map(rng, height, width, rng.uniform(0, config.deformation_px))
    if config.lens > 0:
        centre = np.array([width, height]) * rng.uniform(0.25, 0.75, 2)
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        away = np.stack([column, row], -1) - centre.astype(np.float32)
        squared = (away**2).sum(-1, keepdims=True) / np.float32(0.25 * (width**2 + height**2))
        shift += away * squared * np.float32(rng.uniform(-1, 1) * config.lens)
    return shift


def bend_image(image: Image, homography: NDArray[Any], shift: FloatImage, interpolation: int) -> Image:
    """The crop of an image under a homography, each pixel of it taken from ``shift`` (H, W, 2) away."""
    height, width = shift.shape[:2]
    column, row = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    place = np.stack([column, row], -1) + shift
    origin = warp_points(np.linalg.inv(homography), place.reshape(-1, 2)).reshape(height, width, 2)
    return cv2.remap(image, origin.astype(np.float32), None, interpolation)


def bend_points(xy: NDArray[Any], shift: FloatImage) -> NDArray[Any]:
    """Where points (N, 2) of a crop are after :func:`bend_image`: p with p + shift(p) = xy, NaN where none is found."""
    place = xy.astype(np.float32)
    for _ in range(20):
        moved = cv2.remap(shift, place[:, None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        step = xy - moved[:, 0] - place
        place = (place + step).astype(np.float32)
    found = np.abs(step).max(1) < 0.05
    return np.where(found[:, None], place, np.nan)


def elastic_map(rng: np.random.Generator, height: int, width: int, strength_px: float) -> FloatImage:
    """A smooth random displacement field (H, W, 2) of at most about ``strength_px``."""
    coarse = rng.normal(0, 0.5, (5, 5, 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(strength_px)
