"""Geometry of many ragged tracks at once: projection, angles, alignment.

Observations are flat arrays sorted by track; ``starts`` (T,) holds where each track begins, so that a sum over a
track is one ``np.add.reduceat``. Nothing here loops over points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres, pose_at, stack_poses, world_to_camera
from dd_sfm.structures import Model

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rays:
    """Observations as they enter triangulation.

    ``track`` (O,) int64 sorted, 0..T-1 without gaps; ``cam_from_world`` (O, 3, 4) of the frame of each; ``normalised``
    (O, 2) = K^-1 x; ``focal_px`` (2,) turns normalised errors along x and y into pixels, whose sides may differ.
    """

    track: Ints
    cam_from_world: Floats
    normalised: Floats
    focal_px: Floats

    @property
    def starts(self) -> Ints:
        """First row of each track (T,)."""
        return np.flatnonzero(np.r_[True, np.diff(self.track) > 0]) if len(self.track) else np.zeros(0, np.int64)

    @property
    def centres(self) -> Floats:
        """Camera centres (O, 3) in the world."""
        return camera_centres(self.cam_from_world)


def observation_rays(track: Ints, frame: Ints, xy: Floats, poses: Floats, camera: PinholeCamera) -> Rays:
    """Observations as rays.

    Args:
        track: Track of each (O,) int64, sorted, 0..T-1 without gaps.
        frame: Its row of ``poses`` (O,).
        xy: Its pixel (O, 2).
        poses: cam_from_world (F, 3, 4).
        camera: The camera of all frames.
    """
    return Rays(track, poses[frame], camera.normalise(xy), camera.focal)


def model_rays(model: Model) -> Rays:
    """The observations of a model as rays."""
    return observation_rays(model.point, model.frame, model.xy, stack_poses(model.cam_from_world), model.camera)


def reprojection_residuals_px(rays: Rays, points: Floats) -> Floats:
    """Projections of points (T, 3) less their observations (O, 2), in pixels; inf behind the camera."""
    local = world_to_camera(points[rays.track], rays.cam_from_world)
    depth = local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (local[:, :2] / depth[:, None] - rays.normalised) * rays.focal_px
    return np.where(depth[:, None] > 1e-9, residual, np.inf)


def reprojection_errors_px(rays: Rays, points: Floats) -> Floats:
    """Distances (O,) in pixels between observations and the projections of their points (T, 3); inf behind."""
    return np.asarray(np.linalg.norm(reprojection_residuals_px(rays, points), axis=1))


def is_measured(error_px: Floats) -> NDArray[np.bool_]:
    """Which reprojection errors (O,) are not those of dense points in their own reference, zero by construction."""
    return np.asarray(error_px > 1e-3)


def measured_errors_px(error_px: Floats) -> Floats:
    """Reprojection errors without those that are zero by construction; all where there are no others."""
    measured = error_px[is_measured(error_px)]
    return measured if len(measured) else error_px


def widest_angles_deg(rays: Rays, points: Floats) -> Floats:
    """The (nearly) widest angle (T,) between two rays of each track, in degrees.

    Two sweeps: the ray furthest from the first one, then the ray furthest from that.
    """
    starts = rays.starts
    away = points[rays.track] - rays.centres
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
    pivot = away[starts]
    for _ in range(2):
        cosine = (away * pivot[rays.track]).sum(1)
        order = np.lexsort((cosine, rays.track))
        furthest = order[starts]
        smallest = cosine[furthest]
        pivot = away[furthest]
    return np.asarray(np.degrees(np.arccos(np.clip(smallest, -1, 1))))


def width_share(points: Floats) -> float:
    """The second extent of points (N, 3), as a share of the first; 0 on a line, and for points at one place."""
    first, second = np.linalg.svd(points - points.mean(0), compute_uv=False)[:2]
    return float(second / first) if first > 0 else 0.0


class Similarity(NamedTuple):
    """A similarity transform between two worlds: ``scale * rotation @ x + shift`` with rotation (3, 3), shift (3,)."""

    scale: float
    rotation: Floats
    shift: Floats

    def points(self, xyz: Floats) -> Floats:
        """Points (N, 3) in the other world."""
        return np.asarray(self.scale * xyz @ self.rotation.T + self.shift)

    def poses(self, cam_from_world: Floats) -> Floats:
        """Poses cam_from_world (N, 3, 4) of the same cameras in the other world."""
        turned = cam_from_world[:, :, :3] @ self.rotation.T
        return pose_at(turned, self.points(camera_centres(cam_from_world)))

    def poses_by_frame(self, cam_from_world: Mapping[int, Floats]) -> dict[int, Floats]:
        """The same of poses (3, 4) by frame number, or by position."""
        if not cam_from_world:
            return {}
        return dict(zip(cam_from_world, self.poses(np.stack(list(cam_from_world.values()))), strict=True))

    def inverse(self) -> "Similarity":
        """Back from the other world."""
        turned = self.rotation.T
        return Similarity(1 / self.scale, turned, -turned @ self.shift / self.scale)


def similarity(source: Floats, target: Floats) -> Similarity:
    """The transform that brings points (N, 3) onto others (N, 3) with least squares (Umeyama, PAMI 1991)."""
    mean0, mean1 = source.mean(0), target.mean(0)
    s, t = source - mean0, target - mean1
    u, sigma, vt = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((sigma * sign).sum() / np.square(s).sum())
    return Similarity(scale, rotation, mean1 - scale * rotation @ mean0)
