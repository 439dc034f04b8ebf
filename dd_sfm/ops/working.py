"""The working image: a resized frame cropped to the field of view, as networks and patch alignment see it.

Reconstructing, measuring and training all cut their frames out here, so that a network meets the same crop everywhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.ops.areas import bounds_of
from dd_sfm.ops.resize import resize_image, working_scale
from dd_sfm.structures import WorkingGrid

MARGIN_PX = 8
"""Working pixels around the usable area, where the frame has them: context for a network."""
USABLE = 200
"""A working pixel is usable when a resized mask of 0 and 255 is above this: nearly all of what it covers is."""


@dataclass(frozen=True)
class WorkingFrame:
    """``image`` (H, W, 3) uint8 RGB and ``mask`` (H, W) bool in working pixels."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]


def mask_height(mask: NDArray[np.bool_]) -> int:
    """Rows of a mask (H, W) between the first and the last usable one, both included."""
    return bounds_of(mask).height if mask.any() else 0


def grid_around(usable: NDArray[np.bool_], scale: float, stride: int = 1, *, where: str) -> WorkingGrid:
    """The crop around an area, with a margin for the network's context.

    Args:
        usable: (H, W) bool at source size.
        scale: Working pixels per source pixel.
        stride: Working pixels per cell.
        where: Names the source of the area in errors.

    Raises:
        InputError: If no pixel is usable.
    """
    if not usable.any():
        raise InputError(f"{where}: no usable pixel in any mask; expected 255 where usable")
    left, top, right, bottom = bounds_of(usable)
    full = (round(usable.shape[1] * scale), round(usable.shape[0] * scale))
    x0 = max(0, int(left * scale) - MARGIN_PX)
    y0 = max(0, int(top * scale) - MARGIN_PX)
    x1 = min(full[0], int(np.ceil(right * scale)) + MARGIN_PX)
    y1 = min(full[1], int(np.ceil(bottom * scale)) + MARGIN_PX)
    return WorkingGrid(scale, (x0, y0), x1 - x0, y1 - y0, stride)


def field_grid(field: NDArray[np.bool_], working_height_px: int, *, where: str) -> WorkingGrid:
    """The crop around a field of view (H, W) at the scale that makes it ``working_height_px`` high.

    Raises:
        InputError: If no pixel is usable; ``where`` names the source of the mask.
    """
    return grid_around(field, working_scale(mask_height(field), working_height_px), where=where)


def working_image(image: NDArray[Any], grid: WorkingGrid) -> NDArray[Any]:
    """Resize an image (H, W) or (H, W, C) uint8 to working size and cut the grid's crop out of it."""
    return np.ascontiguousarray(resize_image(image, grid.scale)[_crop(grid)])


def working_mask(mask: NDArray[np.bool_], grid: WorkingGrid) -> NDArray[np.bool_]:
    """The same of a mask (H, W)."""
    return resize_image(mask.astype(np.uint8) * 255, grid.scale)[_crop(grid)] > USABLE


def to_working(image: NDArray[Any], mask: NDArray[np.bool_], grid: WorkingGrid) -> WorkingFrame:
    """An image (H, W, 3) uint8 and its mask (H, W) as a working frame."""
    return WorkingFrame(working_image(image, grid), working_mask(mask, grid))


def _crop(grid: WorkingGrid) -> tuple[slice, slice]:
    x, y = grid.origin
    return slice(y, y + grid.height), slice(x, x + grid.width)
