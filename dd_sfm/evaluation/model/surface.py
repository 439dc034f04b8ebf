"""How well the points of an aligned model lie on the true surface, and how much of it they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.model.alignment import Similarity, align_points
from dd_sfm.evaluation.model.ground_truth import InTruth
from dd_sfm.io.truth import RenderedTruth
from dd_sfm.structures import FloatArray, IntArray, Model

COMPLETENESS_MM = (0.5, 1.0)
COMPLETENESS_PCT = (0.5, 1.0)
BEST = (1000, 5000, 20000)
MIN_OBSERVATIONS = 10


@dataclass(frozen=True)
class TrueObservations:
    """Observations whose pixel has a true depth.

    ``point`` (O,) index into the model's points; ``found`` (O, 3) its place in the model; ``true`` (O, 3) the place
    in mm of the surface under the pixel; ``distance`` (O,) of that from the camera.
    """

    point: IntArray
    found: FloatArray
    true: FloatArray
    distance: FloatArray


@dataclass(frozen=True)
class VisibleSurface:
    """Points (S, 3) in mm spread over what the frames with depth see, and their median distance from the camera."""

    xyz: FloatArray
    median_distance: float


def true_observations(model: Model, frames: Sequence[int], where: InTruth) -> TrueObservations:
    """Look up the true place of every observation in those of the model's frames that have depth."""
    truth = where.truth
    parts = [(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))]
    for frame in filter(where.has_depth, frames):
        rows, number = np.flatnonzero(model.frame == frame), where.number[frame]
        world, hit = truth.world_points(number, where.pixels(model.xy[rows]))
        distance = np.linalg.norm(world - camera_centres(truth.cam_from_world[number]), axis=1)
        parts.append((model.point[rows][hit], world[hit], distance[hit]))
    point, true, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return TrueObservations(point, model.xyz[point], true, distance)


def visible_surface(truth: RenderedTruth, step_px: int = 8) -> VisibleSurface:
    """Every ``step_px``-th pixel of the frames with depth, inside the mask, as surface points."""
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
    quality: FloatArray,
    best: Sequence[int] = BEST,
) -> dict[str, Any]:
    """Errors of the points, how much of the surface they cover, and both for the best points only.

    Args:
        model: The model, not aligned.
        observed: Its observations with true depth; at least :data:`MIN_OBSERVATIONS`.
        surface: What could have been found.
        alignment: From the cameras.
        quality: (P,) expected error of each point, lower is better: orders the points of the ``best`` lists.
        best: Numbers of points; those of at least the model's size are left out, all points come last.
    """
    error = np.linalg.norm(alignment.points(observed.found) - observed.true, axis=1)
    cloud = alignment.points(model.xyz)
    gap = _gaps(cloud, surface)
    own, own_error = align_points(observed.found, observed.true)
    rows = [_best_row(n, cloud, observed.point, error, surface, quality) for n in best if n < len(model.xyz)]
    everything = {"points": len(model.xyz)} | _error_figures(error) | _completeness(gap, surface)
    return {
        "observations_with_depth": len(error),
        **_error_figures(error),
        "error_median_rel": float(np.median(error / observed.distance)),
        "error_p90_rel": float(np.percentile(error / observed.distance, 90)),
        **_completeness(gap, surface),
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
    """Median error (P,) over the observations of each of ``count`` points; NaN without any.

    In mm, or with ``relative`` as a share of the distance from the observing camera.
    """
    error = np.linalg.norm(alignment.points(observed.found) - observed.true, axis=1)
    if relative:
        error = error / observed.distance
    ordered = error[np.lexsort((error, observed.point))]
    lengths = np.bincount(observed.point, minlength=count)
    seen = lengths > 0
    first = (np.cumsum(lengths) - lengths)[seen]
    result = np.full(count, np.nan)
    # The two in the middle, which are one and the same of an odd number.
    result[seen] = (ordered[first + (lengths[seen] - 1) // 2] + ordered[first + lengths[seen] // 2]) / 2
    return result


def distinct_cells(model: Model) -> int:
    """Points counted once per cell as wide as a pixel's footprint at the median distance: copies do not count."""
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
    quality: FloatArray,
) -> dict[str, Any]:
    chosen = np.zeros(len(cloud), bool)
    chosen[np.argsort(quality, kind="stable")[:number]] = True
    rows = chosen[point]
    gap = _gaps(cloud[chosen], surface)
    errors = _error_figures(error[rows]) if rows.any() else {"error_median_mm": None, "error_p90_mm": None}
    return {"points": number} | errors | _completeness(gap, surface)


def _gaps(cloud: FloatArray, surface: VisibleSurface) -> FloatArray:
    """Distances (S,) from the surface to the nearest point of the cloud."""
    return np.asarray(cKDTree(cloud).query(surface.xyz)[0])


def _error_figures(error: FloatArray) -> dict[str, Any]:
    return {"error_median_mm": float(np.median(error)), "error_p90_mm": float(np.percentile(error, 90))}


def _completeness(gap: FloatArray, surface: VisibleSurface) -> dict[str, Any]:
    """Share of the surface with a point within each distance."""
    shares = {f"completeness_{t:g}mm": float((gap < t).mean()) for t in COMPLETENESS_MM}
    return shares | {
        f"completeness_{p:g}pct": float((gap < p / 100 * surface.median_distance).mean()) for p in COMPLETENESS_PCT
    }
