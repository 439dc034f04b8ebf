"""Baselines of the learned descriptor: dense RootSIFT and dense optical flow."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View


def equalised_grey(image: NDArray[Any]) -> NDArray[Any]:
    """Convert RGB (H, W, 3) uint8 to grey (H, W) uint8 with locally equalised contrast (CLAHE)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(grey)


def dense_sift_descriptor(view: View, *, stride: int = 2, patch_px: float = 36.0) -> Tensor:
    """Compute upright RootSIFT (Arandjelovic and Zisserman, CVPR 2012) at every cell inside the mask.

    Args:
        view: Frame and mask.
        stride: Working pixels per cell.
        patch_px: Side of the described patch in working pixels; 36 was the best of 12 to 72 on real frames.

    Returns:
        (128, H // stride, W // stride) float32 of unit norm; zero outside the mask.
    """
    height, width = view.mask.shape[0] // stride, view.mask.shape[1] // stride
    start = stride // 2
    rows, columns = np.nonzero(view.mask[start::stride, start::stride][:height, :width])
    # OpenCV describes a patch of 4 bins, each 1.5 keypoint diameters wide.
    size = patch_px / 6
    keypoints = [
        cv2.KeyPoint((c + 0.5) * stride - 0.5, (r + 0.5) * stride - 0.5, size, 0.0)
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    out = np.zeros((height, width, 128), np.float32)
    if keypoints:
        detector = cv2.SIFT_create()  # type: ignore[attr-defined]
        _, sift = detector.compute(equalised_grey(view.image), keypoints)
        out[rows, columns] = np.sqrt(sift / np.maximum(sift.sum(1, keepdims=True), 1e-6))
    return torch.from_numpy(np.ascontiguousarray(out.transpose(2, 0, 1)))


def sift_matcher(stride: int = 2, patch_px: float = 36.0) -> DescriptorMatcher:
    """A matcher with dense RootSIFT descriptors."""
    return DescriptorMatcher(lambda view: dense_sift_descriptor(view, stride=stride, patch_px=patch_px), stride)


def flow_matcher(source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
    """Find points (N, 2) of the source in the target by DIS optical flow (Kroeger et al., ECCV 2016).

    Both are in working pixels.
    """
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    flow = estimator.calc(equalised_grey(source.image), equalised_grey(target.image), None)
    pixels = np.ascontiguousarray(xy, np.float32)[:, None]
    moved = cv2.remap(flow, pixels, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return xy + moved[:, 0]
