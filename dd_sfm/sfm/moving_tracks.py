"""Which tracks hold still: how much of each one point in space explains, with the poses found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses
from dd_sfm.config import Config
from dd_sfm.sfm.ray_consensus import UNUSED
from dd_sfm.sfm.triangulation import consistent_observations
from dd_sfm.structures import FloatArray, IntArray, Tracks

LEAST_VIEWS = 5
"""Two or three views of what moves often meet in a point: shorter tracks tell nothing."""
ERROR_FACTOR = 2.0
"""On the largest error of a point's observations: tracks that slide a little along tissue are no moving ones."""
STILL_SHARE = 0.65
"""A point explains at least this share of the observations of a track on what holds still."""


@dataclass(frozen=True)
class JudgedObservations:
    """Observations of tracks that are long enough to be judged.

    ``frame`` (O,) position, ``xy`` (O, 2) source pixels, ``moving`` (O,) bool: of a track that no point explains.
    """

    frame: IntArray
    xy: FloatArray
    moving: NDArray[np.bool_]

    @classmethod
    def together(cls, parts: Sequence["JudgedObservations"]) -> "JudgedObservations":
        """Those of several models."""
        columns = ([getattr(part, name) for part in parts] for name in ("frame", "xy", "moving"))
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def moving_share(self) -> float:
        """Of all observations."""
        return float(self.moving.mean()) if len(self.moving) else 0.0

    @property
    def still_count(self) -> int:
        """Observations of tracks that hold still."""
        return int((~self.moving).sum())


def judge_tracks(
    tracks: Tracks, cam_from_world: dict[int, FloatArray], camera: PinholeCamera, config: Config, scale: float
) -> JudgedObservations:
    """Tell tracks that move against the scene from those that hold still.

    The whole of a track is looked at, that is as many partner frames as there are: over a few frames what moves slowly,
    or along its epipolar line, looks like a point at some depth. So do points at any distance here, with rays as good
    as parallel: what is far away holds still, too.

    Args:
        tracks: All tracks.
        cam_from_world: Poses by frame position; observations in other frames are left out.
        camera: The camera.
        config: Largest error, threads and seed.
        scale: Factor on that error, for the size of the picture.
    """
    rows = np.flatnonzero(np.isin(tracks.frame, np.array(sorted(cam_from_world), np.int64)))
    lengths = np.bincount(tracks.track[rows], minlength=tracks.count)
    rows = rows[lengths[tracks.track[rows]] >= LEAST_VIEWS]
    track, frame, xy = tracks.track[rows], tracks.frame[rows], tracks.xy[rows]
    settings = config.triangulation
    loose = replace(
        settings, max_reprojection_px=ERROR_FACTOR * settings.max_reprojection_px, min_angle_deg=0.0, passes=1
    )
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    _, owner, _ = consistent_observations(
        starts,
        frame,
        camera.normalise(xy),
        stack_poses(cam_from_world),
        camera,
        replace(config, triangulation=loose),
        scale,
    )
    counts = np.diff(np.append(starts, len(track)))
    explained = np.add.reduceat((owner != UNUSED).astype(np.float64), starts) if len(starts) else np.zeros(0)
    return JudgedObservations(frame, xy, np.repeat(explained < STILL_SHARE * counts, counts))
