"""Reading frames at working size."""

import numpy as np

from dd_sfm.config import Config
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.ops.resize import working_scale
from dd_sfm.ops.working import WorkingFrame, grid_around, to_working
from dd_sfm.structures import Frame, FrameSet, WorkingGrid


def working_grid(frames: FrameSet, config: Config, stride: int) -> WorkingGrid:
    """The crop that holds every frame's usable area, with a margin for the network's context.

    Raises:
        InputError: If no pixel is usable in any frame.
    """
    # Frames share the field of view and differ in highlights: a few of them show all of it.
    masks = [read_mask(frame.mask_path) for frame in frames.frames[:: max(1, len(frames) // 8)]]
    scale = working_scale(frames.field_of_view_px, config.describe.working_height_px)
    return grid_around(np.logical_or.reduce(masks), scale, stride, where=str(frames.frames[0].mask_path.parent))


def load_working(frame: Frame, grid: WorkingGrid) -> WorkingFrame:
    """Read a frame and its mask at working size."""
    return to_working(read_image(frame.path), read_mask(frame.mask_path), grid)
