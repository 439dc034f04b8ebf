"""What is compared: runs, their models in one frame, and the figures of their points."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.evaluation.model.evaluate import Evaluation
from dd_sfm.evaluation.model.ground_truth import InTruth
from dd_sfm.evaluation.model.reprojection import reprojection_summary
from dd_sfm.sfm.geometry import is_measured, model_rays, reprojection_errors_px, widest_angles_deg
from dd_sfm.structures import FloatArray, IntArray, Model


@dataclass(frozen=True)
class Entry:
    """A run to compare: ``failure`` says why it found no model ("" when it found one)."""

    name: str
    label: str
    folder: Path
    failure: str = ""


@dataclass(frozen=True)
class PointFigures:
    """Per observation: ``error_px`` (O,), inf behind a camera. Per point: ``length`` views (P,), ``angle_deg`` widest
    angle (P,), ``mean_error_px`` (P,) of the views in front where it is not zero by construction, inf without any view
    in front, ``ranked_by`` (P,) the expected error that orders the points, ``true_mm`` (P,) distance from the true
    surface point, NaN where it is not known.
    """

    error_px: FloatArray
    length: IntArray
    angle_deg: FloatArray
    mean_error_px: FloatArray
    ranked_by: FloatArray
    true_mm: FloatArray


@dataclass(frozen=True)
class Column:
    """A run of the comparison; ``model`` is None when it found none.

    ``model`` bears source frame numbers and lies in the common frame, as all columns do; ``aligned`` tells whether it
    could be brought there; ``metrics``: what the run wrote.
    """

    name: str
    label: str
    folder: Path
    failure: str
    metrics: dict[str, Any]
    model: Model | None = None
    points: PointFigures | None = None
    aligned: bool = True
    figures: dict[str, Any] = field(default_factory=dict)
    other_models: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """``frames``: source numbers of the frames used, ascending; ``dropped``: those left out before, with the reason;
    ``unit``: of lengths in the common frame; ``reference_path`` (N, 3) camera centres of the reference, in it;
    ``figures``: everything that report.json holds; ``in_truth``: where the frames lie in a rendered reference.
    """  # fmt: skip

    columns: tuple[Column, ...]
    frames: tuple[int, ...]
    dropped: dict[int, str]
    unit: str
    reference_path: FloatArray
    figures: dict[str, Any]
    in_truth: InTruth | None = None

    @property
    def found(self) -> list[Column]:
        """Columns with a model."""
        return [c for c in self.columns if c.model is not None]

    @property
    def run_notes(self) -> list[str]:
        """What went less well in each run, with the label of its column."""
        return [f"{c.label}: {note}" for c in self.columns for note in c.metrics.get("degradations", [])]

    def column(self, name: str) -> Column:
        """The column of a run."""
        return next(c for c in self.columns if c.name == name)


def point_figures(model: Model, ranked_by: FloatArray, evaluation: Evaluation | None = None) -> PointFigures:
    """Errors, track lengths and angles of a model, and what its points are ranked by."""
    count, rays = len(model.xyz), model_rays(model)
    error = reprojection_errors_px(rays, model.xyz)
    length = np.bincount(model.point, minlength=count)
    ahead = np.isfinite(error)
    views = np.bincount(model.point[ahead], minlength=count)
    measured = ahead & is_measured(error)
    total = np.bincount(model.point[measured], weights=error[measured], minlength=count)
    mean = total / np.maximum(np.bincount(model.point[measured], minlength=count), 1)
    mean = np.where((views > 0) | (length == 0), mean, np.inf)
    true = np.full(len(model.xyz), np.nan)
    if evaluation is not None and evaluation.error_unit == "mm":
        true = evaluation.error
    angle = widest_angles_deg(rays, model.xyz)
    return PointFigures(error, length, angle, mean, ranked_by, true)


def quality_figures(points: PointFigures, chosen: NDArray[np.bool_], model: Model) -> dict[str, Any]:
    """Errors, track length and angle of some points (P,) bool."""
    known = points.true_mm[chosen & np.isfinite(points.true_mm)]
    figures: dict[str, Any] = {
        "track_length_mean": float(points.length[chosen].mean()),
        "track_length_median": float(np.median(points.length[chosen])),
        **reprojection_summary(points.error_px[chosen[model.point]]),
        "triangulation_angle_median_deg": float(np.median(points.angle_deg[chosen])),
    }
    if len(known):
        figures |= {
            "points_with_truth": len(known),
            "true_error_median_mm": float(np.median(known)),
            "true_error_p90_mm": float(np.percentile(known, 90)),
        }
    return figures
