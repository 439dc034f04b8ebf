"""Colours of a model's points from the frames that see them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.images import read_image
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.point_blocks import point_blocks
from dd_sfm.progress import Progress, silent
from dd_sfm.structures import FrameSet, IntArray, Model

REMAP_ROWS = 30_000
"""OpenCV's remap takes fewer than 32,767 rows."""


def colour(model: Model, frames: FrameSet, progress: Progress = silent) -> Model:
    """Colour every point by the median of its observations, each frame read once."""
    values = np.zeros((len(model.point), 3), np.uint8)
    of_frame = FrameRows(model.frame)
    for position in progress(of_frame.frames, total=len(of_frame.frames), label="colour"):
        rows = of_frame.of(position)
        image = read_image(frames.frames[position].path)
        for part in np.array_split(rows, len(rows) // REMAP_ROWS + 1):
            xy = model.xy[part].astype(np.float32)
            sampled = cv2.remap(image, xy[:, None, 0].copy(), xy[:, None, 1].copy(), cv2.INTER_LINEAR)
            values[part] = sampled.reshape(-1, 3)
    medians, row = [np.zeros((0, 3), np.uint8)], 0
    for block in point_blocks(model):
        medians.append(_medians(values[row : row + len(block.point)], block.point))
        row += len(block.point)
    rgb = np.concatenate(medians)
    return Model(model.camera, model.cam_from_world, model.xyz, rgb, model.error_px, model.point, model.frame, model.xy)


def _medians(values: NDArray[np.uint8], point: IntArray) -> NDArray[np.uint8]:
    """The median colour (P, 3) of every point's observations: values (O, 3) of the points (O,), 0 to P - 1."""
    count = np.bincount(point)
    middle = np.cumsum(count) - count + count // 2
    sorted_by = (np.lexsort((channel, point)) for channel in values.T)
    return np.stack([channel[order][middle] for channel, order in zip(values.T, sorted_by, strict=True)], 1)
