"""Accuracy and completeness: how far points are from the true surface, and how much of it they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.model.alignment import align_points
from dd_sfm.evaluation.model.ground_truth import GroundTruthLookup
from dd_sfm.io.truth import RenderedTruth
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray, IntArray, Model

COMPLETENESS_MM = (0.5, 1.0)
"""A point of the surface is covered when a point lies within this distance in mm ..."""
COMPLETENESS_PCT = (0.5, 1.0)
"""... or within this percentage of the median distance from the camera."""
BEST_COUNTS = (1000, 5000, 20000)
"""Numbers of best points that are measured on their own."""
MIN_OBSERVATIONS = 10
"""Fewest observations with true depth from which errors are computed."""


@dataclass(frozen=True)
class TrueObservations:
    """Observations whose pixel has a true depth.

    ``point`` (O,): index of the model's point; ``model_xyz`` (O, 3): its position in the model; ``true_xyz`` (O, 3):
    position of the surface under the pixel in mm; ``distance`` (O,): of that from the camera in mm.
    """

    point: IntArray
    model_xyz: FloatArray
    true_xyz: FloatArray
    distance: FloatArray


@dataclass(frozen=True)
class VisibleSurface:
    """Points (S, 3) in mm, spread over the surface that the frames with depth see, and their median camera distance."""

    xyz: FloatArray
    median_distance: float


def true_observations(model: Model, frames: Sequence[int], lookup: GroundTruthLookup) -> TrueObservations:
    """Look up the true surface point of every observation in those of the model's frames that have depth."""
    truth = lookup.truth
    parts = [(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))]
    for frame in filter(lookup.has_depth, frames):
        rows, number = np.flatnonzero(model.frame == frame), lookup.clip_frame[frame]
        world, hit = truth.world_points(number, lookup.to_clip_pixels(model.xy[rows]))
        distance = np.linalg.norm(world - camera_centres(truth.cam_from_world[number][None]), axis=1)
        parts.append((model.point[rows][hit], world[hit], distance[hit]))
    point, true, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return TrueObservations(point, model.xyz[point], true, distance)


def visible_surface(truth: RenderedTruth, step_px: int = 8) -> VisibleSurface:
    """The surface points of every ``step_px``-th pixel inside the mask, in all frames with depth."""
    rows, columns = np.mgrid[step_px // 2 : truth.mask.shape[0] : step_px, step_px // 2 : truth.mask.shape[1] : step_px]
    usable = truth.mask[rows, columns]
    xy = np.stack([columns[usable], rows[usable]], 1).astype(np.float64)
    points, distances = [], []
    for frame in truth.depth_frames.tolist():
        world, hit = truth.world_points(frame, xy)
        points.append(world[hit])
        distances.append(np.linalg.norm(world[hit] - camera_centres(truth.cam_from_world[frame]), axis=1))
    return VisibleSurface(np.concatenate(points), float(np.median(np.concatenate(distances))))


def surface_figures(
    model: Model,
    observed: TrueObservations,
    surface: VisibleSurface,
    alignment: Similarity,
    ranking: FloatArray,
    best: Sequence[int] = BEST_COUNTS,
) -> dict[str, Any]:
    """Errors of the points and completeness of the surface, for all points and for the best ones only.

    Args:
        model: The model, not aligned.
        observed: Its observations with true depth; at least :data:`MIN_OBSERVATIONS`.
        surface: The surface that could have been found.
        alignment: From the model to the reference, found by the cameras.
        ranking: (P,) expected error of each point: the points of least value are the best.
        best: Numbers of best points; those not below the size of the model are left out, all points come last.
    """
    error = np.linalg.norm(alignment.points(observed.model_xyz) - observed.true_xyz, axis=1)
    cloud = alignment.points(model.xyz)
    distance = _distances_to_cloud(cloud, surface)
    own, own_error = align_points(observed.model_xyz, observed.true_xyz)
    rows = [_best_row(n, cloud, observed.point, error, surface, ranking) for n in best if n < len(model.xyz)]
    everything = {"points": len(model.xyz)} | _error_figures(error) | _completeness(distance, surface)
    return {
        "observations_with_depth": len(error),
        **_error_figures(error),
        "error_median_rel": float(np.median(error / observed.distance)),
        "error_p90_rel": float(np.percentile(error / observed.distance, 90)),
        **_completeness(distance, surface),
        "median_distance_mm": surface.median_distance,
        "aligned_by_points": {
            **_error_figures(own_error),
            "error_median_rel": float(np.median(own_error / observed.distance)),
            "scale_ratio": own.scale / alignment.scale,
        },
        "best": [*rows, everything],
    }


def point_errors(
    observed: TrueObservations, alignment: Similarity, count: int, *, relative: bool = False
) -> FloatArray:
    """Median error (P,) over the observations of each of ``count`` points; NaN for points without any.

    Errors are in mm, or with ``relative`` shares of the distance from the observing camera.
    """
    error = np.linalg.norm(alignment.points(observed.model_xyz) - observed.true_xyz, axis=1)
    if relative:
        error = error / observed.distance
    ordered = error[np.lexsort((error, observed.point))]
    lengths = np.bincount(observed.point, minlength=count)
    has_any = lengths > 0
    first = (np.cumsum(lengths) - lengths)[has_any]
    result = np.full(count, np.nan)
    # The median is the mean of the two middle values, which are the same one for an odd number.
    result[has_any] = (ordered[first + (lengths[has_any] - 1) // 2] + ordered[first + lengths[has_any] // 2]) / 2
    return result


def distinct_cells(model: Model) -> int:
    """Count the cells with points, each as wide as a pixel at the median distance: copies of a point count once."""
    if not len(model.point):
        return 0
    frames = np.array(sorted(model.cam_from_world))
    centres = camera_centres(np.stack([model.cam_from_world[int(f)] for f in frames]))
    distance = np.linalg.norm(model.xyz[model.point] - centres[np.searchsorted(frames, model.frame)], axis=1)
    cell = float(np.median(distance)) / float(model.camera.focal.mean())
    return len(np.unique(np.floor(model.xyz / cell).astype(np.int64), axis=0))


def _best_row(
    number: int,
    cloud: FloatArray,
    point: IntArray,
    error: FloatArray,
    surface: VisibleSurface,
    ranking: FloatArray,
) -> dict[str, Any]:
    chosen = np.zeros(len(cloud), bool)
    chosen[np.argsort(ranking, kind="stable")[:number]] = True
    rows = chosen[point]
    distance = _distances_to_cloud(cloud[chosen], surface)
    errors = _error_figures(error[rows]) if rows.any() else {"error_median_mm": None, "error_p90_mm": None}
    return {"points": number} | errors | _completeness(distance, surface)


def _distances_to_cloud(cloud: FloatArray, surface: VisibleSurface) -> FloatArray:
    """Distances (S,) from the points of the surface to the nearest point of the cloud."""
    return np.asarray(cKDTree(cloud).query(surface.xyz)[0])


def _error_figures(error: FloatArray) -> dict[str, Any]:
    return {"error_median_mm": float(np.median(error)), "error_p90_mm": float(np.percentile(error, 90))}


def _completeness(distance: FloatArray, surface: VisibleSurface) -> dict[str, Any]:
    """Share of the surface that has a point within each of the distances."""
    shares = {f"completeness_{t:g}mm": float((distance < t).mean()) for t in COMPLETENESS_MM}
    return shares | {
        f"completeness_{p:g}pct": float((distance < p / 100 * surface.median_distance).mean()) for p in COMPLETENESS_PCT
    }
