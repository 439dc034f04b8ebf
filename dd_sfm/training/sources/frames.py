"""Frames at working size, stored in memory: as arrays, or as JPEGs when there are many."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.ops.resize import resize_image, working_scale

JPEG_QUALITY = 95


@dataclass(frozen=True)
class WorkingCrop:
    """The crop around the field of view, and its size in working pixels relative to the source."""

    box: tuple[slice, slice]
    scale: float

    def image(self, image: NDArray[Any]) -> NDArray[Any]:
        """A source image (H, W, 3) uint8 as working image."""
        return resize_image(np.ascontiguousarray(image[self.box]), self.scale)

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A source mask (H, W) as working mask."""
        return resize_image(mask[self.box].astype(np.uint8) * 255, self.scale) > 127

    def camera(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the working image, of that of the source."""
        rows, columns = self.box
        size = columns.stop - columns.start, rows.stop - rows.start
        return camera.cropped((columns.start, rows.start), size).scaled(self.scale)

    def points(self, xy: NDArray[Any]) -> NDArray[Any]:
        """Source pixels (N, 2) as working pixels."""
        return resize_xy(xy - np.array([self.box[1].start, self.box[0].start]), self.scale)


def working_crop(mask: NDArray[np.bool_], working_height_px: int, where: str) -> WorkingCrop:
    """The crop that holds a mask (H, W), at working size.

    Raises:
        InputError: If the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise InputError(f"{where}: no usable pixel in the mask; expected 255 where frames are usable")
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return WorkingCrop(box, working_scale(int(rows[-1] - rows[0]) + 1, working_height_px))


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
