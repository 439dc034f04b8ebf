"""Which pixels can be used: the field of view, found from the frames themselves, and highlights."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import MasksConfig
from dd_sfm.errors import InputError
from dd_sfm.ops.areas import convex_hull, largest_part
from dd_sfm.ops.discs import disc_dilate, disc_erode
from dd_sfm.ops.working import mask_height

Mask = NDArray[np.bool_]


def find_field_of_view(frames: Sequence[NDArray[Any]], where: str) -> Mask:
    """The area that shows the scene: a circle, a clipped circle, or a rectangle.

    What is bright in many frames, cleaned of thin things such as text outside the circle, made convex as all fields
    of view are; then without what never changes while the scene moves: text and logos laid over the picture.

    Args:
        frames: RGB frames (H, W, 3) uint8 spread over the video.
        where: Names the source in errors.

    Returns:
        (H, W) bool.

    Raises:
        InputError: If nothing is bright in any frame.
    """
    grey = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames])
    height = grey.shape[1]
    # Not the maximum: now and then light flares beyond the rim.
    usual = np.percentile(grey, 70, axis=0).astype(np.uint8)
    brightest = cv2.GaussianBlur(usual, (0, 0), max(1.0, height / 500))
    level = _black_level(brightest)
    bright = (brightest > level).astype(np.uint8)
    if brightest.max() < 24 or bright.mean() < 0.02:
        raise InputError(f"{where}: all frames are black; expected a picture in at least 2 % of the frame")
    area = _largest_area(bright, max(3, height // 40))
    static = _static_overlay(np.stack(list(frames)), area)
    return area & ~static


def _black_level(brightest: NDArray[Any]) -> float:
    """A level between the dark surround (with its compression noise) and the dimmest of the picture."""
    rim = np.concatenate(
        [brightest[:4].ravel(), brightest[-4:].ravel(), brightest[:, :4].ravel(), brightest[:, -4:].ravel()]
    )
    surround = float(np.percentile(rim, 25))
    # Without a dark surround the picture fills the frame, and everything counts.
    return surround + 10.0 if surround < 30 else -1.0


def _largest_area(bright: NDArray[np.uint8], size: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # A black rim keeps opening and closing honest at the edge of the picture.
    padded = cv2.copyMakeBorder(bright, size, size, size, size, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)[size:-size, size:-size]
    largest = largest_part(opened)
    if largest is None:
        return bright > 0
    hull = convex_hull(largest)
    # Where the hull adds much, the shape is not convex: then the area itself, with its holes closed.
    if largest.sum() > 0.85 * hull.sum():
        return hull
    closed = cv2.morphologyEx(largest.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return closed > 0


def _static_overlay(frames: NDArray[Any], area: Mask) -> Mask:
    """Sharp-edged pixels (in any colour channel) that stay the same while the rest changes."""
    nothing = np.zeros_like(area)
    if len(frames) < 6:
        return nothing
    # Channel by channel: a standard deviation over all at once would need gigabytes for large frames.
    deviation = np.max([frames[..., c].std(0, dtype=np.float32) for c in range(3)], axis=0)
    if np.median(deviation[area]) < 6:
        return nothing
    median = np.stack([np.median(frames[..., c], axis=0) for c in range(3)], -1).astype(np.uint8)
    edge = cv2.morphologyEx(median, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(2)
    # The rim itself is sharp and still, but no overlay.
    margin = max(3, area.shape[0] // 40)
    inner = cv2.erode(area.astype(np.uint8), np.ones((margin, margin), np.uint8), borderValue=1) > 0
    seeds = (deviation < 4) & (edge > 60) & inner
    grown = cv2.dilate(seeds.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    # A few chance pixels are no text.
    return grown & area if seeds.sum() > 40 else nothing


def erode_mask(mask: Mask, config: MasksConfig) -> Mask:
    """Shrink a field of view by ``erode_px`` per 1000 pixels of its height; the frame's border counts as its rim."""
    radius = round(config.erode_px * mask_height(mask) / 1000)
    return mask if radius < 1 else disc_erode(mask, radius)


def frame_mask(image: NDArray[Any], field_of_view: Mask, config: MasksConfig, *, height: float | None = None) -> Mask:
    """The field of view without blown-out areas and highlights.

    Args:
        image: RGB (H, W, 3) uint8.
        field_of_view: (H, W) bool, already eroded.
        config: Level and growth.
        height: Of the field in pixels, by which highlights are grown; None for that of ``field_of_view``.
    """
    level = config.highlight_level
    blown = cv2.inRange(image, (level, level, level), (255, 255, 255))
    height = float(mask_height(field_of_view)) if height is None else height
    radius = round(config.highlight_grow_px * height / 1000)
    return field_of_view & ~(disc_dilate(blown, radius) if radius > 0 else blown > 0)
