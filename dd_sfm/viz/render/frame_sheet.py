"""A contact sheet: frames of several clips in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.atomic import write_bytes
from dd_sfm.ops.areas import bounds_of
from dd_sfm.ops.resize import resize_image
from dd_sfm.viz.render.labels import write_label

GAP_PX = 3
WHITE, BLACK = (250, 250, 248), (0, 0, 0)


def frame_sheet(
    clips: Sequence[tuple[str, Sequence[NDArray[Any]], NDArray[np.bool_]]], *, columns: int = 5, tile_px: int = 160
) -> NDArray[np.uint8]:
    """Make a sheet with a row of frames for every clip, evenly spread over it and cropped to the field of view.

    Args:
        clips: Label, RGB frames (H, W, 3) uint8, and field of view (H, W) bool of each.
        columns: Frames per row; fewer where a clip has fewer.
        tile_px: Height of a frame in the sheet.

    Returns:
        RGB (H, W, 3) uint8.
    """
    rows = [_row(label, frames, mask, columns, tile_px) for label, frames, mask in clips]
    width = max(row.shape[1] for row in rows)
    sheet = np.zeros((len(rows) * (tile_px + GAP_PX) - GAP_PX, width, 3), np.uint8)
    for k, row in enumerate(rows):
        top = k * (tile_px + GAP_PX)
        sheet[top : top + tile_px, : row.shape[1]] = row
    return sheet


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet as PNG with the highest compression.

    Raises:
        OutputError: If it cannot be written.
    """
    packed = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    write_bytes(path, packed.tobytes())


def _row(
    label: str, frames: Sequence[NDArray[Any]], mask: NDArray[np.bool_], columns: int, tile_px: int
) -> NDArray[np.uint8]:
    bounds = bounds_of(mask)
    box, scale = bounds.part, tile_px / bounds.height
    chosen = np.unique(np.linspace(0, len(frames) - 1, columns).round().astype(int))
    tiles = [resize_image(np.ascontiguousarray(frames[k][box]), scale)[:tile_px] for k in chosen]
    space = np.zeros((tile_px, GAP_PX, 3), np.uint8)
    parts = [part for tile in tiles for part in (_pad_to_height(tile, tile_px), space)][:-1]
    return write_label(np.concatenate(parts, 1), label, rgb=WHITE, box=BLACK)


def _pad_to_height(tile: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Add the line that rounding may have left out at the bottom of a tile."""
    return np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0)))
