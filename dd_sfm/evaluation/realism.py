"""Compare rendered clips with real ones by what matters to matching: keypoints, gradients and matches."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.ops.areas import bounds_of
from dd_sfm.ops.resize import resize_image
from dd_sfm.ops.texture import gradients

FIELD_HEIGHT_PX = 500
"""Height of the field of view to which all clips are scaled."""
FRAME_GAP = 5
"""Distance in frames between the frames that are measured."""
WEAK_CONTRAST = 0.012
"""SIFT's contrast threshold for weak texture; OpenCV's default is 0.04."""


@dataclass(frozen=True)
class PictureStatistics:
    """Means over the frames of a clip, with the field of view 500 pixels high.

    ``keypoints``: number of SIFT keypoints at the default threshold; ``weak_keypoints``: at a low one; ``matches``:
    number of weak keypoints that match those five frames before by the ratio test at 0.8; ``gradient``,
    ``gradient_p90``: median and 90th percentile in grey levels per pixel; ``fine``: mean deviation from the image
    blurred by 1.5 px; ``texture``: standard deviation between blurs of 1.5 and 6 px; ``brightness``: mean grey level;
    ``dark``: share of pixels below grey level 30; ``red_to_green``: ratio of the channels' means.
    """

    keypoints: float
    weak_keypoints: float
    matches: float
    gradient: float
    gradient_p90: float
    fine: float
    texture: float
    brightness: float
    dark: float
    red_to_green: float


def picture_statistics(frames: Sequence[NDArray[Any]], mask: NDArray[np.bool_]) -> PictureStatistics:
    """Measure the statistics of a clip.

    Args:
        frames: RGB images (H, W, 3) uint8, each :data:`FRAME_GAP` source frames after the one before.
        mask: (H, W) bool field of view.

    Raises:
        InputError: With fewer than two frames or an empty mask.
    """
    if len(frames) < 2 or not mask.any():
        raise InputError(
            f"clip: {len(frames)} frames and {int(mask.sum())} usable pixels; expected at least two frames and a "
            "field of view"
        )
    bounds = bounds_of(mask)
    box, scale = bounds.part, FIELD_HEIGHT_PX / bounds.height
    area = resize_image(mask[box].astype(np.uint8) * 255, scale) > 127
    area = cv2.erode(area.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    default = cv2.SIFT_create()  # type: ignore[attr-defined]
    weak = cv2.SIFT_create(contrastThreshold=WEAK_CONTRAST)  # type: ignore[attr-defined]
    values, matches = [], []
    before: NDArray[Any] | None = None
    for number, frame in enumerate(frames):
        image = resize_image(np.ascontiguousarray(frame[box]), scale)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        inside = area.astype(np.uint8) * 255
        keypoints, descriptors = weak.detectAndCompute(grey, inside)
        if number:
            matches.append(_ratio_matches(before, descriptors))
        before = descriptors
        values.append([len(default.detect(grey, inside)), len(keypoints), *_texture(image, grey, area)])
    mean = np.mean(values, 0)
    return PictureStatistics(*map(float, (mean[0], mean[1], np.mean(matches), *mean[2:])))


def _texture(image: NDArray[Any], grey: NDArray[Any], area: NDArray[np.bool_]) -> list[float]:
    gradient = np.hypot(*gradients(grey))[area]
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.5)
    coarse = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 6.0)
    red, green = (float(image[..., k][area].mean()) for k in (0, 1))
    return [
        float(np.median(gradient)),
        float(np.percentile(gradient, 90)),
        float(np.abs(grey - smooth)[area].mean()),
        float((smooth - coarse)[area].std()),
        float(grey[area].mean()),
        float((grey[area] < 30).mean()),
        red / max(green, 1e-6),
    ]


def _ratio_matches(first: NDArray[Any] | None, second: NDArray[Any] | None) -> int:
    if first is None or second is None or len(first) < 2:
        return 0
    found = cv2.BFMatcher().knnMatch(second, first, k=2)
    return sum(a.distance < 0.8 * b.distance for a, b in found)


def ratios_to_real(clip: PictureStatistics, real: Sequence[PictureStatistics]) -> dict[str, float]:
    """Each figure of a clip divided by the mean of real ones; 1 where both are 0. Empty without real clips."""
    result: dict[str, float] = {}
    if not real:
        return result
    for name, value in asdict(clip).items():
        mean = float(np.mean([asdict(r)[name] for r in real]))
        result[name] = value / mean if mean > 0 else (1.0 if value == 0 else float("inf"))
    return result
