"""Pictures of stereo endoscopes, two of one scene beside or above each other, told from those of one camera."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.source import Crop
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.spread import spread_over
from dd_sfm.pipeline.source_part import half

WIDTH, MOST_HEIGHT = 160, 320
"""Size of the small copies of halves that are compared."""
PATCH, STEP = 24, 12
"""Side and spacing of their patches, in pixels of the small copies."""
SIDEWAYS, UPRIGHT = 19, 4
"""So far off a patch is looked for in the other half: the disparity of two eyes, and their misalignment."""
LEAST_LEVEL, LEAST_CONTRAST, LEAST_PATCHES = 25, 1.0, 12
"""Patches that are too dark or flat say nothing, nor do halves with too few others."""
ALIKE = 0.8
"""Correlation of patches that show the same."""
SAME_SHARE = 0.5
"""Two views of one scene have this share of their patches alike; halves of one picture have almost none."""
FRAMES = 6
"""Frames that are looked at; most of those that say anything must agree, and at least half must."""


def stereo_notes(frames: Sequence[NDArray[Any]]) -> list[Note]:
    """A note where both halves of most frames, RGB (H, W, 3) uint8, show the same scene."""
    chosen = spread_over(frames, FRAMES)
    for sides, where in ((("left", "right"), "beside"), (("top", "bottom"), "above")):
        shares = [_same_share(frame, sides) for frame in chosen]
        told = [share for share in shares if share is not None]
        if 2 * len(told) >= len(chosen) and sum(share > SAME_SHARE for share in told) > 0.7 * len(told):
            text = (
                f"the {sides[0]} and {sides[1]} halves of the frames show nearly the same picture, as stereo "
                f"endoscopes record two {where} each other; they were taken for one camera's. Use one of them: "
                f"--stereo {sides[0]} or --stereo {sides[1]}"
            )
            return [Note(NoteCode.SIDE_BY_SIDE, text)]
    return []


def _same_share(frame: NDArray[Any], sides: tuple[str, str]) -> float | None:
    """The share of one half's patches that are found in the other half; None where there are too few to tell."""
    whole = Crop(0, 0, frame.shape[1], frame.shape[0])
    one, other = (_small(half(whole, side).cut(frame)) for side in sides)
    first, second = _detail(one), _detail(other)
    found = []
    for y in range(UPRIGHT, one.shape[0] - PATCH - UPRIGHT + 1, STEP):
        for x in range(0, WIDTH - PATCH + 1, STEP):
            patch = first[y : y + PATCH, x : x + PATCH]
            if one[y : y + PATCH, x : x + PATCH].mean() < LEAST_LEVEL or patch.std() < LEAST_CONTRAST:
                continue
            area = second[y - UPRIGHT : y + PATCH + UPRIGHT, max(0, x - SIDEWAYS) : x + PATCH + SIDEWAYS]
            found.append(float(cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED).max()))
    return float(np.mean(np.array(found) > ALIKE)) if len(found) >= LEAST_PATCHES else None


def _small(half_frame: NDArray[Any]) -> NDArray[np.float32]:
    height, width = half_frame.shape[:2]
    size = WIDTH, min(MOST_HEIGHT, max(2 * PATCH, round(WIDTH * height / width)))
    grey = cv2.cvtColor(np.ascontiguousarray(half_frame), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _detail(grey: NDArray[np.float32]) -> NDArray[Any]:
    """Texture alone: neither noise nor the light's fall-off, which is alike in any two pictures."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 6))
