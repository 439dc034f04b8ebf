"""Whether the scene held still: tissue that moves fits points of a few frames in a row, and no longer those of all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.sfm.track_fit import has_views, some_tracks, track_residuals
from dd_sfm.structures import FloatArray, IntArray, Tracks

NEAR_FRAMES = 6
"""Registered frames in a row in which tissue has hardly moved."""
LEAST_WINDOWS = 3
"""Of so many frames each; fewer tell nothing."""
LEAST_VIEWS = 3
"""Of a point, in all frames and in a few: two views nearly always agree."""
LEAST_OBSERVATIONS = 1000
MOST_TRACKS = 20_000
LARGEST_GROWTH, LARGEST_PRODUCT = 1.7, 1.95
"""Where the scene held still residuals have grown less, and so has their growth times that of what neighbours share."""
CELLS = 8
"""Neighbours are tracks in one cell of a grid of so many cells a side of the picture."""
LEAST_NEIGHBOURS, MOST_NEIGHBOURS = 3, 20
"""Tracks of either half of a cell that tell something, and that more of weigh no more than."""
HALVINGS = 6
"""How often tracks are halved at random, to lessen chance."""
LEAST_SHARED = 0.3
"""Neighbours have always so much in common, relative to the median residual: less of it tells nothing."""
LARGEST_PX = 3.0
"""Larger residuals are of wrong matches; at an error scale of 1."""


@dataclass(frozen=True)
class ResidualGrowth:
    """How many times larger residuals are against points of all views than against those of a few frames in a row.

    ``whole``: the ratio of the medians over the same observations. Noise alone makes it 1.1 or so, matches that drift
    along the path 1.3 to 1.6; poses that bend, and a camera that does not fit make it more. ``shared``: the ratio of
    what neighbouring tracks have in common in one frame: matches drift each on its own, tissue moves with what is
    around it. None where too few observations tell it.
    """

    whole: float
    shared: float | None

    @classmethod
    def read(cls, figures: Mapping[str, float | int | None]) -> "ResidualGrowth | None":
        """What :meth:`figures` gave; None where that is nothing."""
        whole = figures.get("residual_growth")
        return None if whole is None else cls(whole, figures.get("shared_residual_growth"))

    @property
    def is_large(self) -> bool:
        """Whether it is larger than where the scene holds still."""
        return self.whole > LARGEST_GROWTH or (self.shared is not None and self.whole * self.shared > LARGEST_PRODUCT)

    @property
    def words(self) -> str:
        """What it says, as the beginning of a sentence."""
        fit = f"matches of a few frames in a row fit {self.whole:.1f} times better than those of all frames"
        if self.shared is None:
            return fit
        return f"{fit}, and neighbouring ones are off together {self.shared:.1f} times as far in these"

    def figures(self) -> dict[str, float]:
        """By name, as in ``metrics.json``."""
        named = {"residual_growth": self.whole, "shared_residual_growth": self.shared}
        return {name: round(value, 3) for name, value in named.items() if value is not None}


def residual_growth(
    tracks: Tracks, poses: Mapping[int, FloatArray], camera: PinholeCamera, scale: float, seed: int
) -> ResidualGrowth | None:
    """How residuals grow from a few frames in a row to all.

    Args:
        tracks: All tracks.
        poses: cam_from_world (3, 4) by frame position, adjusted to the tracks.
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.

    Returns:
        None where too few frames or observations tell it.
    """
    positions = np.array(sorted(poses), np.int64)
    if len(positions) < LEAST_WINDOWS * NEAR_FRAMES:
        return None
    rows = np.flatnonzero(np.isin(tracks.frame, positions))
    track = tracks.track[rows].astype(np.int64)
    # A track's observations are in the order of the frames: its parts are, too.
    windows = len(positions) // NEAR_FRAMES + 1
    part = track * windows + np.searchsorted(positions, tracks.frame[rows]) // NEAR_FRAMES
    told = has_views(part, LEAST_VIEWS)
    rows, track, part = rows[told], track[told], part[told]
    some = some_tracks(track, MOST_TRACKS)
    rows, track, part = rows[some], track[some], part[some]
    if len(rows) < LEAST_OBSERVATIONS:
        return None
    stacked = stack_poses(dict(poses))
    in_all, in_few = (
        track_residuals(grouped, tracks.frame[rows], tracks.xy[rows], stacked, camera, scale, seed)[0]
        for grouped in (track, part)
    )
    medians = [float(np.median(np.linalg.norm(residual, axis=1))) for residual in (in_all, in_few)]
    cell = _cells(tracks.frame[rows], tracks.xy[rows], camera)
    rng = np.random.default_rng(seed)
    halves = [rng.integers(0, 2, int(track[-1]) + 1)[track] for _ in range(HALVINGS)]
    shared = [_shared_variance(residual, cell, halves, LARGEST_PX * scale) for residual in (in_all, in_few)]
    least = max(LEAST_SHARED * medians[1], 1e-9) ** 2
    known = [max(value, 0.0) + least for value in shared if value is not None]
    ratio = float(np.sqrt(known[0] / known[1])) if len(known) == len(shared) else None
    return ResidualGrowth(medians[0] / max(medians[1], 1e-9), ratio)


def _cells(frame: IntArray, xy: FloatArray, camera: PinholeCamera) -> IntArray:
    """The cell (O,) of its frame that each observation lies in."""
    place = np.clip((xy / camera.size * CELLS).astype(np.int64), 0, CELLS - 1)
    return np.asarray((frame.astype(np.int64) * CELLS + place[:, 1]) * CELLS + place[:, 0])


def _shared_variance(residual: FloatArray, cell: IntArray, halves: list[IntArray], largest_px: float) -> float | None:
    """What neighbouring tracks have in common: the covariance of the mean residuals of two halves of a cell's tracks.

    Args:
        residual: Of each observation (O, 2) in pixels.
        cell: The cell (O,) of its frame that it lies in.
        halves: Which half (O,) each belongs to, 0 or 1, for several ways to halve them.
        largest_px: Observations with larger residuals do not count.

    Returns:
        None where no cell has enough tracks.
    """
    good = np.linalg.norm(residual, axis=1) < largest_px
    residual, cell = residual[good], np.unique(cell[good], return_inverse=True)[1]
    cells, total, weights = int(cell.max(initial=-1)) + 1, 0.0, 0.0
    for half in halves:
        key = half[good] * cells + cell
        count = np.bincount(key, minlength=2 * cells).reshape(2, cells)
        sums = [np.bincount(key, residual[:, axis], 2 * cells).reshape(2, cells) for axis in (0, 1)]
        told = (count >= LEAST_NEIGHBOURS).all(0)
        weight = np.minimum(count.min(0), MOST_NEIGHBOURS)[told]
        means = [part[:, told] / count[:, told] for part in sums]
        total += float((weight * sum(mean[0] * mean[1] for mean in means)).sum())
        weights += float(weight.sum())
    return total / weights if weights else None
