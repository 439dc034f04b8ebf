"""How much there is to match in a frame: sharpness, local contrast, and which frames have too little of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.discs import disc_erode
from dd_sfm.ops.working import mask_height
from dd_sfm.pipeline.frame_selection import Drops, small_area, small_image
from dd_sfm.structures import DropReason, FloatArray

SHRUNK = 0.5
"""Detail is measured in frames made smaller by this factor, which leaves out noise and takes a fifth of the time."""
FINE_PX, COARSE_PX = 1.5 * SHRUNK, 5.0 * SHRUNK
"""Detail is what lies between two blurs: neither noise nor shading."""
RIM_SHARE = 0.05
"""Of the height of the field of view, at its rim, where detail is not measured: some of the dark around it may show."""
DETAIL_PERCENTILE = 75
"""Of the local contrast over the field of view, without highlights."""
HIGHLIGHT_LEVEL, HIGHLIGHT_GROW_PX = 235, 7
"""A pixel is a highlight when all channels reach this level, and so are those around it."""
FEATURELESS = 0.9
"""Detail in percent of the brightness below which a frame shows nothing to match; good ones have 1.5 in poor light."""
LEAST_DETAIL = 0.5
"""Share of the usual detail that a frame has which is not blurred."""
NEIGHBOURS = 7
"""Frames on each side whose sharpness a frame is compared with."""
MAX_DROPS_IN_A_ROW = 3
"""A longer blurred stretch keeps every fourth frame, so that the path is not cut."""

Mask = NDArray[np.bool_]
Image = NDArray[Any]


@dataclass(frozen=True)
class Texture:
    """``sharpness``: see :func:`sharpness_of`; ``detail``: local contrast in percent."""

    sharpness: float
    detail: float


def sharpness_area(field_of_view: NDArray[np.bool_], scale: float) -> NDArray[np.bool_]:
    """Where :func:`sharpness_of` measures: the field of view (H, W) at working size without its rim."""
    return cv2.erode(small_area(field_of_view, scale).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0


def sharpness_of(small: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """Mean response of a Laplacian of Gaussian relative to brightness, at working size.

    Relative to brightness, since exposure changes; clipped, since a highlight's edge outshines all tissue.

    Args:
        small: A frame at working size, from :func:`dd_sfm.pipeline.frame_selection.small_image`.
        inside: From :func:`sharpness_area`.
    """
    if not inside.any():
        return 0.0
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    response = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1.2), cv2.CV_32F)) / (grey + 16.0)
    return float(np.minimum(response, 0.1)[inside].mean() * 100)


class TextureMeter:
    """Measures frames at working size.

    Args:
        field_of_view: (H, W) at the size of the source.
        scale: Working pixels per pixel of the source.
    """

    def __init__(self, field_of_view: Mask, scale: float) -> None:
        self.scale, self.inside = scale, sharpness_area(field_of_view, scale)
        field = small_area(field_of_view, scale * SHRUNK)
        self._middle = disc_erode(field, max(1, round(RIM_SHARE * mask_height(field))))
        self._field = field.astype(np.float32)
        # What is dark around the field is no part of its shading.
        self._weights = {px: np.maximum(_blurred(self._field, px), 1e-3) for px in (FINE_PX, COARSE_PX)}

    def of(self, small: Image) -> Texture:
        """The texture of a frame, from :func:`dd_sfm.pipeline.frame_selection.small_image`."""
        return Texture(sharpness_of(small, self.inside), self._detail(small))

    def _detail(self, small: Image) -> float:
        size = self._field.shape[1], self._field.shape[0]
        smaller = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        bright = (smaller.min(2) >= HIGHLIGHT_LEVEL).astype(np.uint8)
        dull = self._middle & (cv2.dilate(bright, np.ones((HIGHLIGHT_GROW_PX, HIGHLIGHT_GROW_PX), np.uint8)) == 0)
        if not dull.any():
            return 0.0
        grey = cv2.cvtColor(smaller, cv2.COLOR_RGB2GRAY) * self._field
        smooth = self._blurred(grey, COARSE_PX)
        between = (self._blurred(grey, FINE_PX) - smooth) * self._field
        strength = np.sqrt(self._blurred(between * between, COARSE_PX))
        return float(np.percentile((100 * strength / (smooth + 16.0))[dull], DETAIL_PERCENTILE))

    def _blurred(self, values: FloatArray, px: float) -> FloatArray:
        return _blurred(values, px) / self._weights[px]


def _blurred(values: FloatArray, px: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), px))


def usual_texture(samples: Sequence[Image], field_of_view: Mask, working_height_px: int) -> Texture:
    """The middle texture of samples of a clip, (H, W, 3) as the field of view (H, W), but for those without any."""
    scale = min(1.0, working_height_px / max(1, mask_height(field_of_view)))
    meter = TextureMeter(field_of_view, scale)
    found = [meter.of(small_image(sample, scale)) for sample in samples]
    values = [(texture.sharpness, texture.detail) for texture in found if texture.detail >= FEATURELESS]
    sharpness, detail = np.median(values, axis=0) if values else (0.0, 0.0)
    return Texture(float(sharpness), float(detail))


def why_featureless(texture: Texture) -> tuple[DropReason, str] | None:
    """Why a frame shows nothing to match, if it does not."""
    if texture.detail >= FEATURELESS:
        return None
    return DropReason.FEATURELESS, f"featureless: detail {texture.detail:.2f} %, less than {FEATURELESS:g} %"


class BlurFilter:
    """Tells blurred frames from sharp ones in the order of the video.

    A frame is judged by its neighbours on both sides: as soon as NEIGHBOURS frames after it are measured, or at the
    end of the video by those that there are. In a long blurred stretch, whose frames are no measure of each other, it
    is judged by what is usual in the clip.

    Args:
        min_sharpness: Share of its neighbours' median sharpness that a frame has at least.
        usual: The middle texture of the clip.
    """

    def __init__(self, min_sharpness: float, usual: Texture) -> None:
        self.min_sharpness, self.usual = min_sharpness, usual
        self.values: list[Texture] = []
        """Texture of the frames measured so far; judge a frame only when its neighbours are among them."""
        self._judged = 0
        self._in_a_row = 0

    def judge_next(self) -> str:
        """The measurement by which the first frame not yet judged is blurred, as a text; empty for a sharp one."""
        k, self._judged = self._judged, self._judged + 1
        own = self.values[k]
        values = np.array([value.sharpness for value in self.values[max(0, k - NEIGHBOURS) : k + NEIGHBOURS + 1]])
        near = np.delete(values, min(k, NEIGHBOURS))
        expected, among = float(np.median(near)) if len(near) else 0.0, "neighbours"
        if self.usual.sharpness > expected and own.detail < LEAST_DETAIL * self.usual.detail:
            expected, among = self.usual.sharpness, "usually"
        if own.sharpness < self.min_sharpness * expected and self._in_a_row < MAX_DROPS_IN_A_ROW:
            self._in_a_row += 1
            return f"blurred: sharpness {own.sharpness:.3f}, {among} {expected:.3f}"
        self._in_a_row = 0
        return ""


def find_blurred(textures: Mapping[int, Texture], min_sharpness: float, usual: Texture) -> Drops:
    """Source numbers of frames much less sharp than their neighbours or than usual, with the reason."""
    blur = BlurFilter(min_sharpness, usual)
    blur.values = list(textures.values())
    details = [(number, blur.judge_next()) for number in textures]
    return {number: (DropReason.BLURRED, detail) for number, detail in details if detail}
