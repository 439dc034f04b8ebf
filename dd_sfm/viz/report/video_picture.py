"""A small picture of a run for lists of many: a frame of the video, and beside it the cloud."""

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import DDSfMError
from dd_sfm.io.images import read_image, write_image
from dd_sfm.io.run_folder import has_frames, load_frames

RUNS = ("", "learned", "sift")
"""Where a run may lie in its folder: itself, or in that of a comparison."""


def write_video_picture(path: Path, out: Path, size: tuple[int, int]) -> None:
    """Write a JPEG with the middle frame of a run, and its cloud as seen from the front where it has one.

    Args:
        path: File to write.
        out: Folder of a run or a comparison.
        size: Width and height of each of the two.

    Raises:
        DDSfMError: If there is neither.
    """
    run = next((out / name for name in RUNS if has_frames(out / name)), out)
    frames = load_frames(run).frames
    photo = _fitted(read_image(frames[len(frames) // 2].path), size)
    cloud = next((out / name for name in RUNS if (out / name / "points.ply").is_file()), None)
    parts = [photo, *([] if cloud is None else _cloud_picture(cloud, size))]
    write_image(path, np.concatenate(parts, 1))


def _cloud_picture(run: Path, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The cloud of a run seen from the front; nothing for an empty one, as the figures beside it say."""
    # Imported where there is a cloud: short commands that make none are quicker without.
    from dd_sfm.viz.render.cloud_view import open_cloud_view
    from dd_sfm.viz.render.screenshot import render_screenshot
    from dd_sfm.viz.render.view_state import ViewState

    with suppress(DDSfMError):
        return [render_screenshot(ViewState((open_cloud_view(run),), cameras=False), "front", *size)]
    return []


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image (H, W, 3) as large as fits into width and height, on white."""
    width, height = size
    factor = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 255, np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = small
    return canvas
