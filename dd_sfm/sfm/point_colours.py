"""Colours of a model's points from the frames that see them."""

import cv2
import numpy as np

from dd_sfm.io.images import read_image
from dd_sfm.progress import Progress, silent
from dd_sfm.structures import FrameSet, Model

REMAP_ROWS = 30_000
"""OpenCV's remap takes fewer than 32,767 rows."""


def colour(model: Model, frames: FrameSet, progress: Progress = silent) -> Model:
    """Colour every point by the median of its observations, each frame read once."""
    values = np.zeros((len(model.point), 3), np.uint8)
    order = np.argsort(model.frame, kind="stable")
    used = np.unique(model.frame)
    bounds = np.searchsorted(model.frame[order], np.append(used, model.frame.max(initial=0) + 1))
    for k, position in enumerate(progress(used, total=len(used), label="colour")):
        rows = order[bounds[k] : bounds[k + 1]]
        image = read_image(frames.frames[position].path)
        for part in np.array_split(rows, len(rows) // REMAP_ROWS + 1):
            xy = model.xy[part].astype(np.float32)
            sampled = cv2.remap(image, xy[:, None, 0].copy(), xy[:, None, 1].copy(), cv2.INTER_LINEAR)
            values[part] = sampled.reshape(-1, 3)
    count = np.bincount(model.point, minlength=len(model.xyz))
    middle = np.cumsum(count) - count + count // 2
    rgb = np.zeros((len(model.xyz), 3), np.uint8)
    for channel in range(3):
        rgb[:, channel] = values[np.lexsort((values[:, channel], model.point)), channel][middle]
    return Model(model.camera, model.cam_from_world, model.xyz, rgb, model.error_px, model.point, model.frame, model.xy)
