"""Areas grown and shrunk by discs."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def disc_dilate(area: NDArray[Any], radius: int) -> NDArray[np.bool_]:
    """An area (H, W), above 0, grown by a radius of 1 or more pixels."""
    return cv2.dilate(area.astype(np.uint8), _disc(radius)) > 0


def disc_erode(area: NDArray[Any], radius: int) -> NDArray[np.bool_]:
    """An area (H, W), above 0, shrunk by a radius of 1 or more pixels; there is none of it beside the picture."""
    return cv2.erode(area.astype(np.uint8), _disc(radius), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
