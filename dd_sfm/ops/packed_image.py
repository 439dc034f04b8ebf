"""Grey images packed so that one load gives all that bilinear interpolation needs at a pixel.

Between a pixel and its neighbours to the right and below, grey is ``a + b fx + (c + d fx) fy``. The four coefficients
are 16-bit numbers in steps of 1/64 grey level, side by side in 64 bits: reading an image at scattered places is bound
by the number of loads, and this takes one instead of four.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import Int64Array, Number, compiled_part, inlined_part

STEPS = 64
"""Steps of a packed value per grey level."""


def pack_image(grey: NDArray[Any]) -> Int64Array:
    """Pack a grey image (H, W) of values in [-255, 255]; beyond its last row and column it goes on as its edge.

    Where neighbours differ by up to 255 grey levels, every sum of coefficients is exact.
    """
    steps = np.rint(np.clip(grey, -255, 255) * STEPS).astype(np.int32)
    padded = np.pad(steps, ((0, 1), (0, 1)), mode="edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    cells, most = np.empty((*steps.shape, 4), "<i2"), np.iinfo(np.int16).max
    for k, values in enumerate((steps, right - steps, below - steps, both - right - below + steps)):
        cells[..., k] = values.clip(-most, most)
    packed: Int64Array = cells.view("<i8")[..., 0].astype(np.int64, copy=False)
    return packed


@inlined_part
def packed_value(cell: int) -> Any:
    """Grey of a packed pixel itself, in steps."""
    return np.float32(np.int16(cell))


@inlined_part
def packed_coefficients(cell: int) -> tuple[Any, Any, Any, Any]:
    """The coefficients a, b, c and d of a packed pixel as float32, in steps."""
    return (
        np.float32(np.int16(cell)),
        np.float32(np.int16(cell >> 16)),
        np.float32(np.int16(cell >> 32)),
        np.float32(np.int16(cell >> 48)),
    )


@inlined_part
def packed_sample(cell: int, fx: Number, fy: Number) -> Any:
    """Grey in steps at the fractional place (fx, fy) within a packed pixel, both in [0, 1]."""
    a, b, c, d = packed_coefficients(cell)
    return a + b * fx + (c + d * fx) * fy


@compiled_part
def packed_window(image: Int64Array, row: int, column: int, window: NDArray[np.float32]) -> None:
    """Copy the grey values, in steps, of the pixels from (row, column) on; beyond the image its edge goes on."""
    height, width = image.shape
    size = window.shape[1]
    inside = column >= 0 and column + size <= width
    for i in range(window.shape[0]):
        line = image[min(max(row + i, 0), height - 1)]
        if inside:
            for j in range(size):
                window[i, j] = packed_value(line[column + j])
        else:
            for j in range(size):
                window[i, j] = packed_value(line[min(max(column + j, 0), width - 1)])
