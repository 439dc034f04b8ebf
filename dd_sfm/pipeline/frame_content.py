"""Whether a frame shows the scene: blank frames and frames of another field of view are told from the others.

All is measured on a small copy, the overview, whose pixels are means of many: neither noise nor compression shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.areas import convex_hull, largest_part
from dd_sfm.ops.discs import disc_dilate, disc_erode
from dd_sfm.structures import DropReason

OVERVIEW_PX = 96
"""Height of an overview."""
SAME_LEVELS = 2
"""Grey levels, in any channel, by which pixels of one colour differ at most."""
DIM_LEVEL = 40
"""A colour with no channel above this is dark: a lumen may be as dark, with little in it that is lit."""
BLANK_SHARE, BLANK_SHARE_DIM = 0.75, 0.95
"""A frame is blank when this share of the field of view is of one colour, or of one dark colour."""
BLANK_SHARE_CANVAS = 0.985
"""The share for a dark colour where the field of view is not known: a small picture may lie on a large black canvas."""
DARK_MARGIN = 10
"""Levels above the dark surround up to which a pixel counts as dark."""
LIT_MARGIN, LIT_SHARE = 18, 0.3
"""Levels above the dark surround, and share of the brightness inside, from which a pixel beyond the rim is lit."""
MAX_SURROUND = 30
"""A surround brighter than this is picture."""
BEYOND_SHARE = 0.35
"""Share of the band beyond the rim that is lit when a frame's picture is larger than, or beside, the field of view."""
INNER_SHARE = 0.6
"""Share of the band inside the rim that is dark when a frame's picture is smaller than the field of view, ..."""
SHARP_SHARE, SHARP_STEP = 0.6, 15
"""...and share of its edge where brightness rises by so many levels at once: light that falls off does so slowly."""
LEAST_BAND = 40
"""Pixels of a band that tell anything; a field of view that fills the frame has nothing beyond it."""
PROPOSALS = 16
"""About so many fields of view are compared."""
STILL_LEVELS = 1.0
"""Mean difference of two overviews below which they are one picture held still."""

Mask = NDArray[np.bool_]
Overview = NDArray[Any]
"""A small copy (h, w, 3) uint8 of an RGB frame."""


def overview(image: NDArray[Any]) -> Overview:
    """The small copy of an RGB image (H, W, 3) uint8 by which it is judged."""
    return _resized(image, overview_size(image.shape))


def overview_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of the overview of a frame of this shape."""
    scale = min(1.0, OVERVIEW_PX / shape[0])
    return max(8, round(shape[1] * scale)), max(8, round(shape[0] * scale))


def _resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def one_colour(small: Overview, inside: Mask | None = None) -> str:
    """The measurement by which a frame is blank, as a text; empty when it shows something.

    Args:
        small: From :func:`overview`.
        inside: The field of view (h, w) at that size; None: not known, and the whole frame is looked at.
    """
    smooth = cv2.GaussianBlur(small, (0, 0), 1.0)
    values = smooth.reshape(-1, 3) if inside is None else smooth[inside]
    if not len(values):
        return ""
    colour = np.median(values, axis=0)
    share = float((np.abs(values - colour) <= SAME_LEVELS).all(1).mean())
    least = BLANK_SHARE
    if colour.max() <= DIM_LEVEL:
        least = BLANK_SHARE_CANVAS if inside is None else BLANK_SHARE_DIM
    if share < least:
        return ""
    red, green, blue = (int(value) for value in colour)
    return f"blank: {100 * share:.0f} % of the picture is of one colour, ({red}, {green}, {blue})"


@dataclass(frozen=True)
class SceneField:
    """The field of view at overview size, and what lies around it.

    ``area`` (h, w): the field; ``inner``, ``beyond``: bands inside and outside its rim; ``surround``: brightness
    outside.
    """

    area: Mask
    inner: Mask
    beyond: Mask
    surround: float

    def why_unfit(self, image: NDArray[Any]) -> tuple[DropReason, str] | None:
        """Why a frame, RGB (H, W, 3) uint8 of any size, does not show the scene; None for one that does."""
        small = _resized(image, (self.area.shape[1], self.area.shape[0]))
        blank = one_colour(small, self.area)
        if blank:
            return DropReason.BLANK, blank
        other = self.other_field(small)
        return (DropReason.OTHER_FIELD, other) if other else None

    def other_field(self, small: Overview) -> str:
        """The measurement by which an overview is of another field of view, as a text; empty when it is of this one."""
        value = small.max(2)
        beyond, inner = value[self.beyond], value[self.inner]
        if len(beyond) >= LEAST_BAND:
            # Relative to the picture: what a blurred rim or a flare spreads beyond is fainter.
            least = self.surround + max(LIT_MARGIN, LIT_SHARE * float(np.median(value[self.area])))
            share = float((beyond > least).mean())
            if share >= BEYOND_SHARE:
                return f"another field of view: {100 * share:.0f} % of the band beyond the usual rim is lit"
        dark = float((inner <= self.surround + DARK_MARGIN).mean()) if len(inner) >= LEAST_BAND else 0.0
        if dark >= INNER_SHARE and _edge_is_sharp(value, self.area, self.surround + DARK_MARGIN):
            return f"another field of view: {100 * dark:.0f} % of the band inside the usual rim is black"
        return ""


def scene_field(area: Mask, examples: Sequence[Overview]) -> SceneField:
    """Describe a field of view by which frames are judged.

    Args:
        area: The field of view (h, w) at overview size.
        examples: Overviews of frames that show it.
    """
    unit = max(1.0, area.shape[0] / 40)
    padded = np.pad(area.astype(np.uint8), 16)
    # Not at the rim itself, over which a blurred picture runs.
    near, far = (disc_dilate(padded, _whole(unit * k))[16:-16, 16:-16] for k in (1.5, 4))
    beyond = far & ~near
    # Beside the frame there is nothing, so that the band inside runs along its border, too.
    inner = area & ~disc_erode(area, _whole(unit * 2))
    outside = ~near
    surround = float(np.median([e.max(2)[outside].mean() for e in examples])) if outside.any() else 0.0
    return SceneField(area, inner, beyond, min(surround, MAX_SURROUND))


def shrunk(field_of_view: Mask, size: tuple[int, int]) -> Mask:
    """A field of view (H, W) at the size (width, height) of overviews; a pixel is inside when most of it is."""
    return _resized(field_of_view.astype(np.uint8) * 255, size) > 127


def main_group(overviews: Sequence[Overview]) -> list[int]:
    """Which frames show the field of view that most do; blank ones never count.

    Some frames propose their own field of view, and the one that most frames agree with wins. A picture held still,
    such as a menu, counts once however long it stays.

    Args:
        overviews: Of frames in the order of the video.

    Returns:
        Their positions, ascending.
    """
    good = [k for k, small in enumerate(overviews) if not one_colour(small)]
    fresh = [k for n, k in enumerate(good) if n == 0 or _differ(overviews[good[n - 1]], overviews[k])]
    best: list[int] = []
    votes = 0
    for k in fresh[:: max(1, len(fresh) // PROPOSALS)]:
        field = scene_field(_own_area(overviews[k]), [overviews[k]])
        agreeing = [j for j in good if not field.other_field(overviews[j])]
        count = len(set(agreeing) & set(fresh))
        if count > votes:
            best, votes = agreeing, count
    return best


def _differ(first: Overview, second: Overview) -> bool:
    return float(cv2.absdiff(first, second).mean()) >= STILL_LEVELS


def _own_area(small: Overview) -> Mask:
    """The lit part of one overview, without thin things such as text, or all of it where it has no dark surround."""
    value = small.max(2)
    rim = np.concatenate([value[:2].ravel(), value[-2:].ravel(), value[:, :2].ravel(), value[:, -2:].ravel()])
    surround = float(np.percentile(rim, 25))
    if surround >= MAX_SURROUND:
        return np.ones(value.shape, np.bool_)
    lit = (value > surround + DARK_MARGIN).astype(np.uint8)
    opened = cv2.morphologyEx(lit, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    largest = largest_part(opened)
    return lit > 0 if largest is None else convex_hull(largest)


def _edge_is_sharp(value: NDArray[Any], area: Mask, level: float) -> bool:
    """Whether most of the edge of what is lit inside an area rises at once, as the rim of a picture does."""
    lit = (value > level) & area
    edge = lit & ~disc_erode(lit, 1)
    if not edge.any():
        return False
    highest = cv2.dilate(np.where(lit, value, 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    return float((highest[edge] >= level + SHARP_STEP).mean()) >= SHARP_SHARE


def _whole(radius: float) -> int:
    return max(1, round(radius))
