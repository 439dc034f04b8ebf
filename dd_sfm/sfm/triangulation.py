"""Stage: densify. All tracks become points, with the poses found by the mapper."""

import logging
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dd_sfm.cameras import PinholeCamera, camera_centres, stack_poses
from dd_sfm.config import Config
from dd_sfm.io.images import read_image
from dd_sfm.progress import Progress, silent
from dd_sfm.sfm.geometry import (
    Rays,
    consensus_points,
    observation_rays,
    refine_points,
    reprojection_errors_px,
    widest_angles_deg,
)
from dd_sfm.structures import FloatArray, FrameSet, Model, Tracks

logger = logging.getLogger(__name__)

REMAP_ROWS = 30_000
"""OpenCV's remap takes fewer than 32,767 rows."""
CHUNK_OBSERVATIONS = 1_000_000
"""Observations triangulated at once: about 400 MB of intermediate arrays."""


def triangulate(
    tracks: Tracks,
    cam_from_world: dict[int, FloatArray],
    camera: PinholeCamera,
    config: Config,
    *,
    scale: float = 1.0,
) -> tuple[Model, NDArray[np.int64]]:
    """Triangulate all tracks robustly with fixed poses, and keep the points that hold up.

    A point is kept with ``densify.min_views`` observations within ``max_reprojection_px`` and a widest angle of at
    least ``min_angle_deg``. Colours are black until :func:`colour`.

    Args:
        tracks: Observations.
        cam_from_world: Poses by frame position; other observations are left out.
        camera: The camera.
        config: Thresholds and seed.
        scale: Factor on the thresholds in pixels, for the size of the picture.

    Returns:
        The points, and the number (P,) of the track that each comes from.
    """
    registered = np.array(sorted(cam_from_world), np.int64)
    poses = stack_poses(cam_from_world)
    rows = np.flatnonzero(np.isin(tracks.frame, registered))
    parts = []
    for _ in range(config.densify.passes):
        for block in _blocks(tracks.track[rows]):
            parts.append(_triangulate_rows(tracks, rows[block], poses, camera, config, scale))
        # A track that slid from one surface point to another holds two: what the first did not use gets a try.
        rows = np.setdiff1d(rows, np.concatenate([p[2] for p in parts] or [np.zeros(0, np.int64)]))
    xyz = np.concatenate([p[0] for p in parts] or [np.zeros((0, 3))])
    shifts = np.cumsum([0, *(len(p[0]) for p in parts)])
    point = np.concatenate([p[1] + s for p, s in zip(parts, shifts, strict=False)] or [np.zeros(0, np.int64)])
    kept_rows = np.concatenate([p[2] for p in parts] or [np.zeros(0, np.int64)])
    error = np.concatenate([p[3] for p in parts] or [np.zeros(0)])
    count = np.bincount(point, minlength=len(xyz))
    mean_error = np.bincount(point, weights=error, minlength=len(xyz)) / np.maximum(count, 1)
    model = Model(
        camera=camera,
        cam_from_world=cam_from_world,
        xyz=xyz,
        rgb=np.zeros((len(xyz), 3), np.uint8),
        error_px=mean_error,
        point=point,
        frame=tracks.frame[kept_rows],
        xy=tracks.xy[kept_rows].astype(np.float64),
    )
    source = np.zeros(len(xyz), np.int64)
    source[point] = tracks.track[kept_rows]
    return model, source


def clean(model: Model) -> Model:
    """Drop points that show the same place twice or hang alone in space."""
    merged = drop_duplicates(model)
    cleaned = drop_isolated(merged)
    logger.info(
        "densify: %d points, %d without duplicates, %d without isolated ones",
        len(model.xyz),
        len(merged.xyz),
        len(cleaned.xyz),
    )
    return cleaned


def _blocks(track: NDArray[np.int64]) -> list[slice]:
    """Slices of at most about CHUNK_OBSERVATIONS rows that never cut a track."""
    ends = [0]
    while ends[-1] < len(track):
        end = min(ends[-1] + CHUNK_OBSERVATIONS, len(track))
        if end < len(track):
            end = int(np.searchsorted(track, track[end], side="left")) or len(track)
            if end <= ends[-1]:
                end = int(np.searchsorted(track, track[ends[-1]], side="right"))
        ends.append(end)
    return [slice(a, b) for a, b in pairwise(ends)]


def _triangulate_rows(
    tracks: Tracks, rows: NDArray[np.int64], poses: FloatArray, camera: PinholeCamera, config: Config, scale: float
) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Points (P, 3), and per kept observation its point, its row of ``tracks`` and its error in pixels."""
    settings = config.densify
    limit = settings.max_reprojection_px * scale
    _, track = np.unique(tracks.track[rows], return_inverse=True)
    rays = observation_rays(track, tracks.frame[rows], tracks.xy[rows], poses, camera)
    rays, rows = _only_long(rays, rows, settings.min_views)
    if not len(rows):
        return np.zeros((0, 3)), np.zeros(0, np.int64), rows, np.zeros(0)
    rng = np.random.default_rng(config.runtime.seed)
    points = consensus_points(rays, threshold_px=2 * limit, hypotheses=12, rng=rng)
    points = refine_points(rays, points, scale_px=limit / 2)
    for bound in (1.5 * limit, limit, limit):
        keep = reprojection_errors_px(rays, points) <= bound
        rays, rows, points = _keep(rays, rows, points, keep, settings.min_views)
        if not len(rows):
            return points, rays.track, rows, np.zeros(0)
        points = refine_points(rays, points, scale_px=limit / 2, iterations=3)
    error = reprojection_errors_px(rays, points)
    good = (widest_angles_deg(rays, points) >= settings.min_angle_deg)[rays.track] & (error <= limit)
    rays, rows, points = _keep(rays, rows, points, good, settings.min_views)
    return points, rays.track, rows, reprojection_errors_px(rays, points)


def _only_long(rays: Rays, rows: NDArray[np.int64], least: int) -> tuple[Rays, NDArray[np.int64]]:
    keep = np.bincount(rays.track)[rays.track] >= least if len(rows) else np.zeros(0, bool)
    return rays.take(keep)[0], rows[keep]


def _keep(
    rays: Rays, rows: NDArray[np.int64], points: FloatArray, keep: NDArray[np.bool_], least: int
) -> tuple[Rays, NDArray[np.int64], FloatArray]:
    """Drop observations, then the tracks that are left with too few."""
    keep = keep & (np.bincount(rays.track[keep], minlength=len(points))[rays.track] >= least)
    rays, old = rays.take(keep)
    return rays, rows[keep], points[old]


def select_points(model: Model, keep: NDArray[np.bool_]) -> Model:
    """The model with only the points under a mask (P,)."""
    number = np.cumsum(keep) - 1
    rows = keep[model.point]
    return Model(
        model.camera,
        model.cam_from_world,
        model.xyz[keep],
        model.rgb[keep],
        model.error_px[keep],
        number[model.point[rows]],
        model.frame[rows],
        model.xy[rows],
    )


def depths(model: Model) -> FloatArray:
    """Median distance (P,) of every point to the cameras that see it, in scene units."""
    centres = camera_centres(stack_poses(model.cam_from_world))
    distance = np.linalg.norm(model.xyz[model.point] - centres[model.frame], axis=1)
    order = np.lexsort((distance, model.point))
    count = np.bincount(model.point, minlength=len(model.xyz))
    return distance[order][np.cumsum(count) - count + count // 2] if len(order) else np.zeros(0)


def spread_subset(model: Model, size: tuple[int, int], per_frame: int) -> Model:
    """The best points of every part of every frame: enough to adjust the poses.

    Args:
        model: All points.
        size: Width and height of the frames in source pixels.
        per_frame: Points a frame, spread over a grid of 12 x 12.
    """
    side = 12
    cell = np.clip((model.xy / np.array(size) * side).astype(np.int64), 0, side - 1)
    bucket = (model.frame * side + cell[:, 1]) * side + cell[:, 0]
    views = np.bincount(model.point, minlength=len(model.xyz))
    worth = views / (1.0 + model.error_px)
    order = np.lexsort((-worth[model.point], bucket))
    start = np.searchsorted(bucket[order], bucket[order], side="left")
    # About 60 % of the cells of a round field of view hold anything.
    chosen = order[np.arange(len(order)) - start < max(1, round(per_frame / (0.6 * side * side)))]
    keep = np.zeros(len(model.xyz), bool)
    keep[model.point[chosen]] = True
    return select_points(model, keep)


def drop_duplicates(model: Model, distance_px: float = 1.0) -> Model:
    """Of tracks that show the same surface point, keep the one with the most views.

    Two points are one when in some frame they are seen within ``distance_px`` and lie within two such footprints of
    each other in space.
    """
    if len(model.xyz) < 2:
        return model
    footprint = depths(model) / model.camera.fx * distance_px
    links = []
    order = np.argsort(model.frame, kind="stable")
    bounds = np.searchsorted(model.frame[order], np.arange(model.frame.max() + 2))
    for start, end in pairwise(bounds):
        rows = order[start:end]
        if len(rows) < 2:
            continue
        close = np.asarray(cKDTree(model.xy[rows]).query_pairs(distance_px, output_type="ndarray"))
        a, b = model.point[rows[close[:, 0]]], model.point[rows[close[:, 1]]]
        near = np.linalg.norm(model.xyz[a] - model.xyz[b], axis=1) < 2 * np.minimum(footprint[a], footprint[b])
        links.append(np.stack([a[near], b[near]], 1))
    pairs = np.concatenate(links) if links else np.zeros((0, 2), np.int64)
    size = len(model.xyz)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    views = np.bincount(model.point, minlength=size)
    best = np.lexsort((model.error_px, -views, group))
    first = best[np.r_[True, np.diff(group[best]) > 0]]
    keep = np.zeros(size, bool)
    keep[first] = True
    return select_points(model, keep)


def drop_isolated(model: Model) -> Model:
    """Drop points that hang alone in space."""
    return select_points(model, not_isolated(model))


def not_isolated(model: Model, neighbours: int = 6, factor: float = 4.0) -> NDArray[np.bool_]:
    """Which points (P,) are about as near to their neighbours as points at their depth are.

    Points with many views are kept however thin the structure they lie on.
    """
    if len(model.xyz) <= 4 * neighbours:
        return np.ones(len(model.xyz), bool)
    distance = np.asarray(cKDTree(model.xyz).query(model.xyz, k=neighbours + 1)[0])[:, -1]
    relative = np.log(np.maximum(distance, 1e-12) / np.maximum(depths(model), 1e-12))
    views = np.bincount(model.point, minlength=len(model.xyz))
    allowed = np.median(relative) + np.log(factor) * np.where(views >= 8, 2.0, 1.0)
    return np.asarray(relative <= allowed)


def colour(model: Model, frames: FrameSet, progress: Progress = silent) -> Model:
    """Colour every point by the median of its observations, each frame read once."""
    values = np.zeros((len(model.point), 3), np.uint8)
    order = np.argsort(model.frame, kind="stable")
    used = np.unique(model.frame)
    bounds = np.searchsorted(model.frame[order], np.append(used, model.frame.max(initial=0) + 1))
    for k, position in enumerate(progress(used, total=len(used), label="colour")):
        rows = order[bounds[k] : bounds[k + 1]]
        image = read_image(frames.frames[position].path)
        for part in np.array_split(rows, len(rows) // REMAP_ROWS + 1):
            xy = model.xy[part].astype(np.float32)
            sampled = cv2.remap(image, xy[:, None, 0].copy(), xy[:, None, 1].copy(), cv2.INTER_LINEAR)
            values[part] = sampled.reshape(-1, 3)
    count = np.bincount(model.point, minlength=len(model.xyz))
    middle = np.cumsum(count) - count + count // 2
    rgb = np.zeros((len(model.xyz), 3), np.uint8)
    for channel in range(3):
        rgb[:, channel] = values[np.lexsort((values[:, channel], model.point)), channel][middle]
    return Model(model.camera, model.cam_from_world, model.xyz, rgb, model.error_px, model.point, model.frame, model.xy)
