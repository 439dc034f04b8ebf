"""Cuts within a video: where neighbouring frames no longer show the same place.

Frames are compared as small grey copies, in texture alone, so that neither light nor exposure counts. Where dense flow
does not lead from one to the other and back, patches are looked for over the whole picture, as a fast turn moves them
far. Frames on both sides of a cut are compared, not only the two next to it: one flash or one blurred frame is no cut.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.working import mask_height
from dd_sfm.structures import DropReason, FrameRecord

HEIGHT_PX = 96
"""Height of the small copies' field of view."""
SAME_PLACE = 0.6
"""Correlation of two frames' texture without any motion from which on they show the same place."""
FOLLOWED = 0.35
"""The same for the share of pixels that flow leads forth and back, times their correlation; others reach 0.21."""
FORTH_AND_BACK_PX = 1.0
"""So far from where it started flow may lead back to."""
PATCH, STEP = 17, 10
"""Side and spacing of patches that are looked for over the whole picture."""
MOVED_ALIKE, WITHIN_PX = 0.2, 3.0
"""Share of patches that one affine motion explains from which on they show the same place; others reach 0.12."""
MOST_SCALED = 3.0
"""An affine motion that scales areas by more explains nothing."""
LEAST_PATCHES = 6
REACH = 3
"""Frames on each side of a possible cut that are compared."""
AROUND, FEW = 4, 0.25
"""Where more than this share of the boundaries so near seem to be cuts, frames are merely far apart."""
GAP_S = 2.0
"""After a longer time without any frame of the scene the camera may be elsewhere, whatever is around."""
GAP_REASONS = (
    DropReason.BLANK, DropReason.OTHER_FIELD, DropReason.OTHER_SIZE, DropReason.UNDECODABLE, DropReason.FEATURELESS,
    DropReason.OBSCURED,
)  # fmt: skip

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass
class Boundary:
    """Between two used frames that follow each other, by number: whether those around it show the same place."""

    before: int
    after: int
    is_followed: bool


@dataclass
class _Open:
    """A boundary that seems to be a cut so far, and the frames before it; ``seen``: how many after it were compared."""

    boundary: Boundary
    before: list[Grey]
    seen: int = 1


@dataclass
class PathFollower:
    """Follows the frames of one source in their order.

    ``inside`` (H, W): the field of view at the size of the grey pictures; ``boundaries``: those seen so far.
    """

    inside: Mask
    boundaries: list[Boundary] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._comparison = Comparison.of(self.inside)
        self._recent: deque[Grey] = deque(maxlen=REACH)
        self._open: list[_Open] = []
        self._last = -1

    def see(self, number: int, grey: NDArray[Any]) -> None:
        """Take in the next frame that is used, as a grey picture (H, W) uint8."""
        small = self._comparison.shrunk(grey)
        same = self._comparison.is_near
        for waiting in self._open:
            waiting.seen += 1
            waiting.boundary.is_followed = any(same(before, small) for before in waiting.before)
        self._open = [w for w in self._open if w.seen < REACH and not w.boundary.is_followed]
        if self._recent:
            # Nearest first: as a rule one comparison settles it. Patches take longest, and stay with neighbours.
            followed = any(same(before, small) for before in reversed(self._recent))
            followed = followed or self._comparison.is_turned(self._recent[-1], small)
            self.boundaries.append(Boundary(self._last, number, followed))
            if not followed:
                self._open.append(_Open(self.boundaries[-1], list(self._recent)))
        self._recent.append(small)
        self._last = number


@dataclass(frozen=True)
class Comparison:
    """Compares small grey pictures; ``inside`` (h, w): the field of view."""

    inside: Mask

    @classmethod
    def of(cls, field_of_view: Mask) -> "Comparison":
        """That of pictures with this field of view (H, W), made small."""
        scale = min(1.0, HEIGHT_PX / max(1, mask_height(field_of_view)))
        size = [max(8, round(side * scale)) for side in reversed(field_of_view.shape)]
        small = cv2.resize(field_of_view.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return cls(cv2.erode(small, np.ones((3, 3), np.uint8)) > 0)

    def shrunk(self, grey: NDArray[Any]) -> Grey:
        """A grey picture at the size at which they are compared."""
        size = self.inside.shape[1], self.inside.shape[0]
        return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)

    def is_near(self, first: Grey, second: Grey) -> bool:
        """Whether two pictures show the same place, seen from where flow leads from one to the other."""
        a, b = _texture(first), _texture(second)
        return _correlation(a, b, self.inside) >= SAME_PLACE or self._followed(first, second, a, b) >= FOLLOWED

    def is_turned(self, first: Grey, second: Grey) -> bool:
        """Whether two pictures show the same place, at least in part, wherever in the picture it is."""
        return self._moved_alike(_texture(first), _texture(second)) >= MOVED_ALIKE

    def _followed(self, first: Grey, second: Grey, a: NDArray[Any], b: NDArray[Any]) -> float:
        """The share of pixels that flow leads to the other picture and back, times the correlation where it leads."""
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
        forth, back = dis.calc(first, second, None), dis.calc(second, first, None)
        rows, columns = np.indices(first.shape, np.float32)
        x, y = columns + forth[..., 0], rows + forth[..., 1]
        returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lands = cv2.remap(self.inside.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderValue=0) > 0
        inside = self.inside & lands
        if not inside.any():
            return 0.0
        agrees = (np.linalg.norm(forth + returned, axis=2) < FORTH_AND_BACK_PX) & inside
        moved = cv2.remap(b, x, y, cv2.INTER_LINEAR)
        return float(agrees.sum() / self.inside.sum()) * _correlation(a, moved, inside)

    def _moved_alike(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """The share of patches whose most alike places in the other picture one affine motion explains."""
        half, places, found = PATCH // 2, [], []
        for y in range(half, a.shape[0] - half, STEP):
            for x in range(half, a.shape[1] - half, STEP):
                part = np.s_[y - half : y + half + 1, x - half : x + half + 1]
                if self.inside[part].mean() > 0.8:
                    _, _, _, best = cv2.minMaxLoc(cv2.matchTemplate(b, a[part], cv2.TM_CCOEFF_NORMED))
                    places.append((x, y))
                    found.append((best[0] + half, best[1] + half))
        if len(places) < LEAST_PATCHES:
            return 0.0
        motion, inliers = cv2.estimateAffine2D(
            np.array(places, np.float32), np.array(found, np.float32), ransacReprojThreshold=WITHIN_PX, maxIters=500
        )
        if motion is None or not 1 / MOST_SCALED < np.linalg.det(motion[:, :2]) < MOST_SCALED:
            return 0.0
        return float(inliers.mean())


def _texture(grey: Grey) -> NDArray[np.float32]:
    """What is neither light nor noise, of equal strength everywhere."""
    levels = grey.astype(np.float32)
    detail = cv2.GaussianBlur(levels, (0, 0), 1) - cv2.GaussianBlur(levels, (0, 0), 5)
    return np.asarray(detail / (np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 5)) + 1.0), np.float32)


def _correlation(a: NDArray[Any], b: NDArray[Any], inside: Mask) -> float:
    first, second = a[inside], b[inside]
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else 0.0


def find_cuts(boundaries: Sequence[Boundary], records: Sequence[FrameRecord]) -> list[Boundary]:
    """The boundaries of one source that are cuts, by frames that were left out between and what is around."""
    found = []
    for k, boundary in enumerate(boundaries):
        if boundary.is_followed:
            continue
        near = boundaries[max(0, k - AROUND) : k + AROUND + 1]
        few = sum(not other.is_followed for other in near) <= max(1.0, FEW * len(near))
        if few or _gap_s(boundary, records) > GAP_S:
            found.append(boundary)
    return found


def _gap_s(boundary: Boundary, records: Sequence[FrameRecord]) -> float:
    """The longest time between two used frames in which no frame shows the scene."""
    between = [r for r in records if boundary.before <= r.index <= boundary.after]
    longest, since = 0.0, between[0].seconds if between else 0.0
    for record in between:
        if record.dropped not in GAP_REASONS:
            since = record.seconds
        longest = max(longest, record.seconds - since)
    return longest
