"""Whether a model has one scale along its path, which a small reprojection error does not tell by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses, world_to_camera
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.sfm.ray_consensus import first_points
from dd_sfm.structures import FloatArray, IntArray, Tracks


def scale_ratios(
    tracks: Tracks,
    cam_from_world: dict[int, FloatArray],
    camera: PinholeCamera,
    *,
    window: int = 12,
    every: int = 2,
    min_angle_deg: float = 1.5,
    min_tracks: int = 30,
) -> dict[int, float]:
    """Whether the scene has the same size before and after every frame.

    At a frame k the tracks that are seen on both sides are triangulated twice, from the registered frames up to k and
    from those after k. In a sound model both give the same depth from camera k; where the mapper joined two
    parts at different scales, the median ratio of the depths is off by that factor, whatever the reprojection error.

    Args:
        tracks: Tracks that feed the mapper.
        cam_from_world: Poses by frame position.
        camera: Their camera.
        window: Registered frames used on each side.
        every: Test every so many frames.
        min_angle_deg: Least angle of a triangulation on either side.
        min_tracks: Fewest tracks for a ratio.

    Returns:
        Median depth ratio (after / before) by frame position, for frames with enough tracks on both sides.
    """
    registered = np.array(sorted(cam_from_world), np.int64)
    poses = stack_poses(cam_from_world)
    rows = np.flatnonzero(np.isin(tracks.frame, registered))
    seen = _Observations(tracks.track[rows], tracks.frame[rows], camera.normalise(tracks.xy[rows]), camera.focal)
    rank = np.searchsorted(registered, seen.frame)
    by_rank = FrameRows(rank)
    result = {}
    for k in range(4, len(registered) - 4, every):
        sides = []
        for start, end in ((max(0, k - window), k), (k, k + window)):
            part = seen.take(by_rank.of_range(start, end))
            sides.append(_depths(part, poses, poses[registered[k]], min_angle_deg))
        common, before, after = np.intersect1d(sides[0][0], sides[1][0], assume_unique=True, return_indices=True)
        if len(common) >= min_tracks:
            result[int(registered[k])] = float(np.median(sides[1][1][after] / sides[0][1][before]))
    return result


@dataclass(frozen=True)
class _Observations:
    """``track`` (O,) sorted, ``frame`` (O,), ``normalised`` (O, 2): places at depth 1; ``focal`` (2,) in pixels."""

    track: IntArray
    frame: IntArray
    normalised: FloatArray
    focal: FloatArray

    def take(self, rows: NDArray[np.int64]) -> "_Observations":
        """Some rows, ascending."""
        return _Observations(self.track[rows], self.frame[rows], self.normalised[rows], self.focal)


def _depths(
    seen: _Observations, poses: FloatArray, viewpoint: FloatArray, min_angle_deg: float
) -> tuple[IntArray, FloatArray]:
    """Track numbers and their depths from ``viewpoint``, triangulated from some observations alone."""
    starts = np.flatnonzero(np.diff(seen.track, prepend=-1))
    points, cosine = first_points(
        np.append(starts, len(seen.track)),
        seen.frame,
        seen.normalised,
        poses,
        seen.focal,
        threshold_px=6.0,
        scale_px=2.0,
        hypotheses=4,
        seed=0,
    )
    depth = world_to_camera(points, viewpoint)[:, 2]
    good = (cosine <= np.cos(np.radians(min_angle_deg))) & (depth > 0)
    return seen.track[starts][good], depth[good]


def largest_scale_jump(ratios: dict[int, float]) -> tuple[int | None, float]:
    """The frame with the ratio furthest from 1, and how far, as a factor of at least 1."""
    if not ratios:
        return None, 1.0
    frame = max(ratios, key=lambda f: abs(np.log(ratios[f])))
    return frame, float(np.exp(abs(np.log(ratios[frame]))))
