"""Areas of frames that move against the tissue and look unlike it: instruments.

Motion alone is no proof, as some of the tissue is always matched badly; nor is colour. What is masked is of a colour
that hardly any tissue has which holds still, and holds tracks that move.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dd_sfm.ops.discs import disc_dilate
from dd_sfm.ops.pixels import nearest_values

HEIGHT_PX = 125
"""Height of the field of view in the small frames that areas are found in."""
BINS = (16, 32, 32)
"""Of lightness, and of the shares of red and green in it."""
LEAST_SHARES, MOST_SHARES = (0.2, 0.1), (0.8, 0.5)
"""Of red and green, between the first and the last bin."""
DARK = 6.0
"""Grey levels added to the sum of the channels: of darker pixels the shares are mostly noise."""
TOTAL = 50_000.0
"""Observations that counts of colours are scaled to, however many there are."""
MOST_COLOUR, MOST_MOTION = 3.0, 3.0
"""Largest logarithms of odds that one pixel's colour, and the tracks near it, may give."""
TRACK_ODDS = 2.0
"""Logarithm of the odds that one track gives where it is..."""
TRACK_SIGMA_PX = 3.0
"""...and how far around it, in small pixels."""
PRIOR = -0.5
"""Logarithm of the odds of a pixel of which nothing is known."""
SMOOTH_PX = 2
"""Radius of the box within which odds are smoothed along edges."""
LEAST_SHARE = 0.008
"""Of the field of view, for an area to be masked."""
LEAST_TRACKS = 8
"""Moving tracks in an area."""
MOVING_SHARE, LEAST_COLOUR = 0.6, 0.5
"""Of the tracks in an area that move, and mean logarithm of the odds by colour there..."""
RESTING_SHARE, CLEAR_COLOUR = 0.25, 1.0
"""...or, as tracks of an instrument hold still where it rests and the scope hardly moves, fewer of a clearer colour."""
GROW_PX = 2
"""What is masked around an area: its edge, mixed with the tissue and aligned with both."""
Floats = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SmallFrame:
    """``rgb`` (H, W, 3) uint8 and ``usable`` (H, W) of a small frame, and its judged tracks.

    ``xy`` (N, 2) in small pixels, ``moving`` (N,).
    """

    rgb: NDArray[np.uint8]
    usable: Mask
    xy: NDArray[np.float32]
    moving: Mask


@dataclass(frozen=True)
class ColourOdds:
    """``table``: logarithm of the odds by bin of a colour that a pixel moves."""

    table: Floats

    @classmethod
    def of_counts(cls, moving: Floats, still: Floats) -> "ColourOdds":
        """From the colours of what moves and of what holds still, as counts by bin."""
        factor = TOTAL / max(1.0, float(moving.sum() + still.sum()))
        m, s = (gaussian_filter(factor * counts, 1.0) for counts in (moving, still))
        return cls(np.clip(np.log((m + 1) / (s + 1)), -MOST_COLOUR, MOST_COLOUR).astype(np.float32))

    @classmethod
    def of_tracks(cls, frames: Sequence[SmallFrame]) -> "ColourOdds":
        """From the colours where tracks are."""
        counts = np.zeros((2, *BINS), np.float32)
        for frame in frames:
            bins = _bins(nearest_values(frame.rgb, frame.xy, 0))
            for row, chosen in enumerate((frame.moving, ~frame.moving)):
                np.add.at(counts[row], tuple(bins[chosen].T), 1)
        return cls.of_counts(counts[0], counts[1])

    @classmethod
    def of_areas(cls, frames: Sequence[SmallFrame], areas: Sequence[Mask]) -> "ColourOdds":
        """From the colours in areas and outside them, which tell more than those where tracks are."""
        counts = np.zeros((2, *BINS), np.float32)
        for frame, area in zip(frames, areas, strict=True):
            bins = _bins(frame.rgb)
            for row, chosen in enumerate((area, frame.usable & ~area)):
                np.add.at(counts[row], tuple(bins[chosen].T), 1)
        return cls.of_counts(counts[0], counts[1])

    def __call__(self, rgb: NDArray[np.uint8]) -> Floats:
        """Of every pixel (H, W)."""
        return np.asarray(self.table[tuple(np.moveaxis(_bins(rgb), -1, 0))])


def _bins(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bins (..., 3) of colours (..., 3): unlike differences of channels, shares tell dark grey from dark red."""
    total = rgb.sum(-1, dtype=np.float32)
    shares = rgb[..., :2] / (total[..., None] + DARK)
    low, high, count = np.array(LEAST_SHARES), np.array(MOST_SHARES), np.array(BINS)
    scaled = np.concatenate([total[..., None] / 766, (shares - low) / (high - low)], -1)
    return np.asarray(np.clip(scaled * count, 0, count - 1).astype(np.int64))


def find_area(frame: SmallFrame, colour: ColourOdds) -> tuple[Mask, Mask]:
    """What of a frame moves, and what is only of such a colour, with too few tracks to tell: (H, W) each."""
    by_colour = colour(frame.rgb)
    motion = _motion_odds(frame)
    odds = by_colour + np.where(by_colour < CLEAR_COLOUR, motion, np.maximum(motion, 0)) + PRIOR
    area = (_smoothed(odds, frame.rgb.mean(2)) > 0) & frame.usable
    area = cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(area)
    at = nearest_values(labels, frame.xy, 0)
    clear, possible = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] < LEAST_SHARE * frame.usable.sum():
            continue
        inside, tracks = labels == label, at == label
        mean = float(by_colour[inside].mean())
        moving, all_tracks = int(frame.moving[tracks].sum()), int(tracks.sum())
        resting = mean >= CLEAR_COLOUR and moving >= RESTING_SHARE * all_tracks
        if moving >= LEAST_TRACKS and (resting or (mean >= LEAST_COLOUR and moving >= MOVING_SHARE * all_tracks)):
            clear |= inside
        elif resting:
            possible |= inside
    return clear, possible


def _motion_odds(frame: SmallFrame) -> Floats:
    height, width = frame.usable.shape
    votes = np.zeros((height, width), np.float32)
    column, row = np.clip(np.rint(frame.xy).astype(int), 0, (width - 1, height - 1)).T
    np.add.at(votes, (row, column), np.where(frame.moving, TRACK_ODDS, -TRACK_ODDS))
    peak = 2 * np.pi * TRACK_SIGMA_PX**2
    return np.asarray(np.clip(peak * cv2.GaussianBlur(votes, (0, 0), TRACK_SIGMA_PX), -MOST_MOTION, MOST_MOTION))


def _smoothed(odds: Floats, lightness: Floats) -> Floats:
    """Odds smoothed where the picture is smooth, by a guided filter (He et al., PAMI 2013)."""
    size, guide = (2 * SMOOTH_PX + 1,) * 2, lightness.astype(np.float32) / 255

    def mean(image: Floats) -> Floats:
        return np.asarray(cv2.blur(image, size))

    centre, value = mean(guide), mean(odds)
    slope = (mean(guide * odds) - centre * value) / (mean(guide * guide) - centre * centre + 1e-3)
    return np.asarray(mean(slope) * guide + mean(value - slope * centre))


def filled(area: Mask, usable: Mask) -> Mask:
    """An area with its holes, also those that only the rim of the field closes, grown by its edge."""
    padded = np.pad(area, GROW_PX + 3).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    inner = slice(GROW_PX + 3, -(GROW_PX + 3))
    return np.asarray(disc_dilate(closed, GROW_PX)[inner, inner] & usable)
