"""Geometry of many ragged tracks at once: projection, robust triangulation, angles, alignment.

Observations are flat arrays sorted by track; ``starts`` (T,) holds where each track begins, so that a sum over a
track is one ``np.add.reduceat``. Nothing here loops over points.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres, stack_poses, world_to_camera
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

    @property
    def directions(self) -> Floats:
        """Unit viewing directions (O, 3) in the world."""
        local = np.concatenate([self.normalised, np.ones((len(self.track), 1))], 1)
        world = np.einsum("oji,oj->oi", self.cam_from_world[:, :, :3], local)
        return np.asarray(world / np.linalg.norm(world, axis=1, keepdims=True))

    def take(self, keep: NDArray[np.bool_]) -> "tuple[Rays, Ints]":
        """The observations under a mask, tracks renumbered without gaps; and the old numbers (T',)."""
        old, track = np.unique(self.track[keep], return_inverse=True)
        return Rays(track, self.cam_from_world[keep], self.normalised[keep], self.focal_px), old


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


def reprojection_errors_px(rays: Rays, points: Floats) -> Floats:
    """Distances (O,) in pixels between observations and the projections of their points (T, 3); inf behind."""
    local = world_to_camera(points[rays.track], rays.cam_from_world)
    depth = local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.linalg.norm((local[:, :2] / depth[:, None] - rays.normalised) * rays.focal_px, axis=1)
    return np.where(depth > 1e-9, error, np.inf)


def is_measured(error_px: Floats) -> NDArray[np.bool_]:
    """Which reprojection errors (O,) are not those of dense points in their own reference, zero by construction."""
    return np.asarray(error_px > 1e-3)


def measured_errors_px(error_px: Floats) -> Floats:
    """Reprojection errors without those that are zero by construction; all where there are no others."""
    measured = error_px[is_measured(error_px)]
    return measured if len(measured) else error_px


def midpoints(centre0: Floats, direction0: Floats, centre1: Floats, direction1: Floats) -> Floats:
    """Points (N, 3) halfway between two rays each; for parallel rays, far away along the first."""
    cosine = (direction0 * direction1).sum(1)
    between = centre1 - centre0
    along0, along1 = (between * direction0).sum(1), (between * direction1).sum(1)
    denominator = np.maximum(1 - cosine**2, 1e-12)
    depth0 = (along0 - cosine * along1) / denominator
    depth1 = (cosine * along0 - along1) / denominator
    return np.asarray((centre0 + depth0[:, None] * direction0 + centre1 + depth1[:, None] * direction1) / 2)


def consensus_points(rays: Rays, *, threshold_px: float, hypotheses: int, rng: np.random.Generator) -> Floats:
    """A robust first point (T, 3) for every track: the best of several two-view hypotheses.

    Each hypothesis is the midpoint of two of the track's rays; the one with the lowest truncated squared error
    (MSAC, Torr and Zisserman, CVIU 2000) over all of the track's observations wins.
    """
    starts = rays.starts
    lengths = np.diff(np.r_[starts, len(rays.track)])
    centres, directions = rays.centres, rays.directions
    best = np.full(len(starts), np.inf)
    points = np.zeros((len(starts), 3))
    for number in range(hypotheses):
        if number == 0:
            first, second = starts, starts + lengths - 1
        else:
            first = starts + (rng.random(len(starts)) * lengths).astype(np.int64)
            shift = 1 + (rng.random(len(starts)) * np.maximum(lengths - 1, 1)).astype(np.int64)
            second = starts + (first - starts + shift) % lengths
        guess = midpoints(centres[first], directions[first], centres[second], directions[second])
        error = np.minimum(reprojection_errors_px(rays, guess), threshold_px)
        cost = np.add.reduceat(error**2, starts)
        better = cost < best
        best[better], points[better] = cost[better], guess[better]
    return points


def refine_points(rays: Rays, points: Floats, *, scale_px: float, iterations: int = 6) -> Floats:
    """Minimise the robust reprojection error of every track over its point.

    Gauss-Newton with Cauchy weights 1 / (1 + (e / scale)^2) and a little damping; the normal equations of all
    tracks are accumulated together and solved as a batch of 3 x 3 systems.
    """
    starts = rays.starts
    points = points.copy()
    for _ in range(iterations):
        local = world_to_camera(points[rays.track], rays.cam_from_world)
        depth = np.where(np.abs(local[:, 2]) > 1e-9, local[:, 2], 1e-9)
        projected = local[:, :2] / depth[:, None]
        residual = (projected - rays.normalised) * rays.focal_px
        weight = 1 / (1 + np.square(residual).sum(1) / scale_px**2)
        rotation = rays.cam_from_world[:, :, :3]
        rows = rotation[:, :2] - projected[..., None] * rotation[:, 2:3]
        jacobian = rows * (rays.focal_px / depth[:, None])[..., None]
        weighted = jacobian * weight[:, None, None]
        normal = np.add.reduceat(np.einsum("oki,okj->oij", weighted, jacobian), starts)
        gradient = np.add.reduceat(np.einsum("oki,ok->oi", weighted, residual), starts)
        damping = 1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3) + 1e-12 * np.eye(3)
        points -= np.linalg.solve(normal + damping, gradient[..., None])[..., 0]
    return points


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


def similarity(source: Floats, target: Floats) -> tuple[float, Floats, Floats]:
    """Scale, rotation (3, 3), shift (3,) with target ~ scale * rotation @ source + shift (Umeyama, PAMI 1991)."""
    mean0, mean1 = source.mean(0), target.mean(0)
    s, t = source - mean0, target - mean1
    u, sigma, vt = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((sigma * sign).sum() / np.square(s).sum())
    return scale, rotation, mean1 - scale * rotation @ mean0
