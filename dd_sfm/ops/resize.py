"""The size at which the network sees frames."""

from typing import Any

import cv2
from numpy.typing import NDArray


def working_scale(field_of_view_px: int, working_height_px: int) -> float:
    """Factor that makes the field of view ``working_height_px`` high; small frames are enlarged by 1.5 at most."""
    return min(working_height_px / max(1, field_of_view_px), 1.5)


def resize_image(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """Resize an image (H, W) or (H, W, C) uint8 by exactly ``scale``; the size is rounded.

    Pixel x lands at (x + 0.5) * scale - 0.5. Resizing to the rounded size instead would stretch the image a little:
    by up to a pixel of the source at the far edge.
    """
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=filter_)
