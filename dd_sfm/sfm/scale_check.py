"""Whether a model has one scale along its path, which a small reprojection error does not tell by itself."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, stack_poses, world_to_camera
from dd_sfm.sfm.geometry import consensus_points, observation_rays, refine_points, widest_angles_deg
from dd_sfm.structures import FloatArray, Tracks


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
    registered = np.array(sorted(cam_from_world))
    poses = stack_poses(cam_from_world)
    by_frame = {int(f): np.flatnonzero(tracks.frame == f) for f in registered}
    result = {}
    for k in range(4, len(registered) - 4, every):
        sides = []
        for part in (registered[max(0, k - window) : k], registered[k : k + window]):
            rows = np.sort(np.concatenate([by_frame[int(f)] for f in part]))
            sides.append(_depths(tracks, rows, poses, camera, poses[registered[k]], min_angle_deg))
        common, before, after = np.intersect1d(sides[0][0], sides[1][0], return_indices=True)
        if len(common) >= min_tracks:
            result[int(registered[k])] = float(np.median(sides[1][1][after] / sides[0][1][before]))
    return result


def _depths(
    tracks: Tracks,
    rows: NDArray[np.int64],
    poses: FloatArray,
    camera: PinholeCamera,
    viewpoint: FloatArray,
    min_angle_deg: float,
) -> tuple[NDArray[np.int64], FloatArray]:
    """Track numbers and their depths from ``viewpoint``, triangulated from some observations alone."""
    lengths = np.bincount(tracks.track[rows], minlength=tracks.count)
    rows = rows[lengths[tracks.track[rows]] >= 2]
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0)
    numbers, track = np.unique(tracks.track[rows], return_inverse=True)
    rays = observation_rays(track, tracks.frame[rows], tracks.xy[rows], poses, camera)
    rng = np.random.default_rng(0)
    points = refine_points(rays, consensus_points(rays, threshold_px=6.0, hypotheses=4, rng=rng), scale_px=2.0)
    depth = world_to_camera(points, viewpoint)[:, 2]
    good = (widest_angles_deg(rays, points) >= min_angle_deg) & (depth > 0)
    return numbers[good], depth[good]


def largest_scale_jump(ratios: dict[int, float]) -> tuple[int | None, float]:
    """The frame with the ratio furthest from 1, and how far, as a factor of at least 1."""
    if not ratios:
        return None, 1.0
    frame = max(ratios, key=lambda f: abs(np.log(ratios[f])))
    return frame, float(np.exp(abs(np.log(ratios[frame]))))
