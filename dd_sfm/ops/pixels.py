"""Reading images at the pixels that places are nearest to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nearest_values(image: NDArray[Any], xy: NDArray[Any], outside: float) -> NDArray[Any]:
    """What an image shows at the pixels nearest to some places.

    Args:
        image: (H, W) or (H, W, C).
        xy: Places (N, 2), pixel centres at integers; NaN and infinity lie outside.
        outside: The value of places beyond the image.

    Returns:
        (N) or (N, C) of the image's type.
    """
    place = np.round(xy)
    with np.errstate(invalid="ignore"):
        inside = ((place >= 0) & (place < np.array(image.shape[1::-1]))).all(1)
    values = np.full((len(xy), *image.shape[2:]), outside, image.dtype)
    # Whole numbers only now: what lies far outside has none.
    columns, rows = place[inside].astype(np.int64).T
    values[inside] = image[rows, columns]
    return values


def inside_mask(mask: NDArray[np.bool_], xy: NDArray[Any]) -> NDArray[np.bool_]:
    """Which places (N, 2) have their nearest pixel in a mask (H, W); NaN and places beyond the image do not."""
    return nearest_values(mask, xy, False)
