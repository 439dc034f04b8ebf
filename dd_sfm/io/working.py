"""Reading frames at working size."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.ops.resize import working_scale
from dd_sfm.ops.working import WorkingFrame, grid_around, to_working
from dd_sfm.structures import Frame, FrameSet, WorkingGrid

FIELD_OF_VIEW = "field_of_view.png"
"""In a run: what of its frames is used at most."""
COVERED_SHARE = 0.02
"""Share of the field's height."""


def working_grid(frames: FrameSet, config: Config, stride: int) -> WorkingGrid:
    """The crop that holds every frame's usable area, with a margin for the network's context.

    Raises:
        InputError: If no pixel is usable in any frame.
    """
    # Frames share the field of view and differ in highlights: a few of them show all of it.
    where = frames.frames[0].mask_path.parent
    some = frames.frames[:: max(1, len(frames) // 8)]
    usable = np.logical_or.reduce([read_mask(frame.mask_path) for frame in some])
    field = where.parent / FIELD_OF_VIEW
    if field.is_file() and _is_much_smaller(usable, read_mask(field)):
        # Masks of single frames cover more than highlights do, and others may show what is covered in these.
        usable = np.logical_or.reduce([read_mask(frame.mask_path) for frame in frames.frames])
    scale = working_scale(frames.field_of_view_px, config.describe.working_height_px)
    return grid_around(usable, scale, stride, where=str(where))


def _is_much_smaller(usable: NDArray[np.bool_], field: NDArray[np.bool_]) -> bool:
    """Whether the extent of an area falls short of that of the field of view by more than highlights at its rim."""
    short = [field.any(axis).sum() - usable.any(axis).sum() for axis in (0, 1)]
    return bool(max(short) > COVERED_SHARE * max(1, field.any(1).sum()))


def load_working(frame: Frame, grid: WorkingGrid) -> WorkingFrame:
    """Read a frame and its mask at working size."""
    return to_working(read_image(frame.path), read_mask(frame.mask_path), grid)
