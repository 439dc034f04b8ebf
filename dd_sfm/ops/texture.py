"""Where in a patch its texture lies."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def gradients(grey: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slopes of an image (H, W) along x and y, in grey levels a pixel."""
    x, y = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def texture_offset(grey: NDArray[Any], side: int) -> NDArray[np.float32]:
    """How far from the middle of its patch the texture of every pixel lies.

    What a patch is found by is its gradients: where all of them lie to one side, the depth found is that of what lies
    there, such as the rim of a fold before a smooth wall (the adhesion of Delon and Rouge, JMIV 2007).

    Args:
        grey: Image (H, W).
        side: Side of the patches in pixels, odd.

    Returns:
        Distance (H, W) in pixels of the centroid of squared gradients from the pixel.
    """
    x, y = gradients(np.asarray(grey, np.float32))
    energy = x * x + y * y
    steps = np.arange(side, dtype=np.float32) - side // 2
    even = np.ones(side, np.float32)
    total, along, down = (
        cv2.sepFilter2D(energy, cv2.CV_32F, *kernels) for kernels in ((even, even), (steps, even), (even, steps))
    )
    return np.asarray(np.hypot(along, down) / np.maximum(total, 1e-6), np.float32)


def structure_tensors(grey: NDArray[Any], sigma_px: float) -> NDArray[np.float32]:
    """How much texture is around every pixel, and along which direction (Förstner and Gülch, 1987).

    Args:
        grey: Image (H, W).
        sigma_px: Standard deviation of the surroundings.

    Returns:
        Mean products xx, xy and yy (H, W, 3) of the slopes along x and y: up to a factor the inverse covariance of
        where a patch is found. Along an edge it is next to nothing.
    """
    x, y = gradients(np.asarray(grey, np.float32))
    return np.asarray(cv2.GaussianBlur(np.stack([x * x, x * y, y * y], -1), (0, 0), sigma_px), np.float32)


def step_share(grey: NDArray[Any], sigma_px: float) -> NDArray[np.float32]:
    """How much of a step the image is around every pixel, relative to the energy of its texture in common.

    Thin lines rise and fall, and textures vary, so that their slopes cancel each other out. What is left is a step from
    one grey level to another, as where nearer tissue ends before what is farther away.

    Args:
        grey: Image (H, W).
        sigma_px: Standard deviation of the surroundings.

    Returns:
        Squared mean slope (H, W), over the median of all mean squared slopes.
    """
    x, y = gradients(np.asarray(grey, np.float32))
    mean_x, mean_y, energy = (cv2.GaussianBlur(a, (0, 0), sigma_px) for a in (x, y, x * x + y * y))
    return np.asarray((mean_x**2 + mean_y**2) / max(float(np.median(energy)), 1e-6), np.float32)
