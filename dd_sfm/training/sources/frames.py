"""Frames at working size, stored in memory: as arrays, or as JPEGs when there are many."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 95


@dataclass(frozen=True)
class WorkingFrames:
    """Frames of a source at working size.

    ``name`` of the source; ``numbers`` of the frames; ``stored``: an image (H, W, 3), or its JPEG (B,), each;
    ``masks`` (1 or N, bytes): one for all or one a frame, packed to bits; ``shape`` (H, W).
    """

    name: str
    numbers: tuple[int, ...]
    stored: tuple[NDArray[np.uint8], ...]
    masks: NDArray[np.uint8]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.numbers)

    def image(self, k: int) -> NDArray[Any]:
        """Frame k (H, W, 3) uint8 RGB."""
        stored = self.stored[k]
        return stored if stored.ndim == 3 else np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR_RGB))

    def mask(self, k: int) -> NDArray[np.bool_]:
        """Usable pixels (H, W) of frame k."""
        height, width = self.shape
        packed = self.masks[k if len(self.masks) > 1 else 0]
        return np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)


def store_frames(
    name: str,
    numbers: tuple[int, ...],
    images: Iterable[NDArray[Any]],
    masks: Iterable[NDArray[np.bool_]],
    memory_mb: int,
) -> WorkingFrames:
    """Store working images (H, W, 3) and working masks (H, W): one mask for all, or one a frame."""
    packed = []
    shape = (0, 0)
    for mask in masks:
        shape = mask.shape
        packed.append(np.packbits(mask))
    compressed = len(numbers) * shape[0] * shape[1] * 3 > memory_mb * 1e6
    stored = tuple(_jpeg(image) if compressed else image for image in images)
    return WorkingFrames(name, numbers[: len(stored)], stored, np.stack(packed), shape)


def _jpeg(image: NDArray[Any]) -> NDArray[np.uint8]:
    bgr = np.ascontiguousarray(image[..., ::-1])
    # Full colour resolution: redness carries the texture of tissue.
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return np.asarray(cv2.imencode(".jpg", bgr, options)[1], np.uint8).ravel()
