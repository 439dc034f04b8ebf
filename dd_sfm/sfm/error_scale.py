"""Thresholds in pixels for frames of any size."""

import numpy as np

from dd_sfm.structures import FrameSet


def error_scale(frames: FrameSet) -> float:
    """Factor on thresholds in pixels, which are given for a field of view that is 1000 source pixels high.

    Matches are found at a fixed working size, so their error in source pixels grows with the picture; below half of
    that size the picture's own blur keeps it from shrinking further.
    """
    return float(np.clip(frames.field_of_view_px / 1000, 0.5, 4.0))
