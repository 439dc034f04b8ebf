"""Working images: frames resized and cropped to the field of view, as network and patch alignment see them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.ops.resize import resize_image, working_scale
from dd_sfm.structures import Frame, FrameSet, WorkingGrid


@dataclass(frozen=True)
class WorkingFrame:
    """``image`` (H, W, 3) uint8 RGB and ``mask`` (H, W) bool in working pixels."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]


def working_grid(frames: FrameSet, config: Config, stride: int) -> WorkingGrid:
    """The crop that holds every frame's usable area, with a margin for the network's context.

    Raises:
        InputError: If no pixel is usable in any frame.
    """
    # Frames share the field of view and differ in highlights: a few of them show all of it.
    masks = [read_mask(frame.mask_path) for frame in frames.frames[:: max(1, len(frames) // 8)]]
    scale = working_scale(frames.field_of_view_px, config.describe.working_height_px)
    return grid_around(np.logical_or.reduce(masks), scale, stride, where=str(frames.frames[0].mask_path.parent))


def grid_around(usable: NDArray[np.bool_], scale: float, stride: int, *, where: str) -> WorkingGrid:
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
    rows, columns = np.flatnonzero(usable.any(1)), np.flatnonzero(usable.any(0))
    full = (round(usable.shape[1] * scale), round(usable.shape[0] * scale))
    margin = 8
    x0 = max(0, int(columns[0] * scale) - margin)
    y0 = max(0, int(rows[0] * scale) - margin)
    x1 = min(full[0], int(np.ceil((columns[-1] + 1) * scale)) + margin)
    y1 = min(full[1], int(np.ceil((rows[-1] + 1) * scale)) + margin)
    return WorkingGrid(scale, (x0, y0), x1 - x0, y1 - y0, stride)


def load_working(frame: Frame, grid: WorkingGrid) -> WorkingFrame:
    """Read a frame and its mask at working size."""
    return to_working(read_image(frame.path), read_mask(frame.mask_path), grid)


def to_working(image: NDArray[Any], mask: NDArray[np.bool_], grid: WorkingGrid) -> WorkingFrame:
    """Resize an image (H, W, 3) uint8 and its mask (H, W) to working size and cut the grid's crop out of both."""
    x, y = grid.origin
    crop = (slice(y, y + grid.height), slice(x, x + grid.width))
    resized = resize_image(image, grid.scale)[crop]
    usable = resize_image(mask.astype(np.uint8) * 255, grid.scale)[crop] > 200
    return WorkingFrame(np.ascontiguousarray(resized), usable)
