"""Images in a layout that compiled loops interpolate with one load: four neighbouring pixels in 64 bits.

Between four pixels an image is a + b x + c y + d x y, with (x, y) in [0, 1) counted from the first of them. A cell
holds these four numbers as 16-bit integers in units of 1 / ``UNITS`` grey levels, a in the lowest bits. Gathering is
what bounds such loops on a CPU: one load of 64 bits takes the place of four of 32.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import inlined_part

UNITS = 64
"""Steps of a grey level: values and their differences may reach ± 511 grey levels."""
Cells = NDArray[np.int64]
"""Cells (..., H, W) of images, see :func:`bilinear_cells`."""

_MOST = np.iinfo(np.int16).max


def bilinear_cells(image: NDArray[np.float32]) -> Cells:
    """Pack an image (H, W) for interpolation; beyond the last row and column its edge goes on.

    Values and differences are rounded to 1 / ``UNITS`` grey levels, and clipped at ± 511.

    Returns:
        (H, W) int64, contiguous.
    """
    scaled = np.pad(np.asarray(image, np.float32) * np.float32(UNITS), ((0, 1), (0, 1)), mode="edge")
    a = scaled[:-1, :-1]
    along, down = scaled[:-1, 1:] - a, scaled[1:, :-1] - a
    both = scaled[1:, 1:] - scaled[1:, :-1] - along
    packed = np.empty((*a.shape, 4), np.int16)
    for k, part in enumerate((a, along, down, both)):
        packed[..., k] = np.rint(np.clip(part, -_MOST, _MOST))
    return packed.view(np.dtype("<i8"))[..., 0]


@inlined_part
def unpacked(cell: Any) -> tuple[Any, Any, Any, Any]:
    """The four numbers of a cell as float32: a, b, c and d, in units of 1 / ``UNITS`` grey levels."""
    low, high = np.int32(cell), np.int32(cell >> 32)
    return (
        np.float32(np.int32(low << 16) >> 16),
        np.float32(low >> 16),
        np.float32(np.int32(high << 16) >> 16),
        np.float32(high >> 16),
    )
