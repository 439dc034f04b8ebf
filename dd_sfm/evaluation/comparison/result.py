"""The result of a comparison: runs, their models in common coordinates, and the figures of their points."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.evaluation.model.evaluate import Evaluation
from dd_sfm.evaluation.model.ground_truth import GroundTruthLookup
from dd_sfm.evaluation.model.reprojection import reprojection_summary
from dd_sfm.sfm.geometry import is_measured
from dd_sfm.sfm.observation_geometry import model_angles_deg, model_errors_px
from dd_sfm.structures import FloatArray, IntArray, Model


@dataclass(frozen=True)
class Entry:
    """A run to compare; ``failure`` says why it has no model, "" when it has one."""

    name: str
    label: str
    folder: Path
    failure: str = ""


@dataclass(frozen=True)
class PointFigures:
    """Figures of the observations and points of a model.

    Per observation: ``error_px`` (O,), inf where the point is behind the camera. Per point: ``track_length`` (P,) in
    views; ``angle_deg`` (P,), the widest triangulation angle; ``mean_error_px`` (P,), mean reprojection error over the
    views where it is not zero by construction, inf for points behind all their cameras; ``expected_error`` (P,), by
    which points are ranked; ``true_error_mm`` (P,), distance from the true surface point, NaN where unknown.
    """

    error_px: FloatArray
    track_length: IntArray
    angle_deg: FloatArray
    mean_error_px: FloatArray
    expected_error: FloatArray
    true_error_mm: FloatArray


@dataclass(frozen=True)
class Column:
    """A run of the comparison.

    ``model``: in common coordinates, with source frame numbers, None when the run found none; ``aligned``: whether it
    could be aligned to these coordinates; ``metrics``: content of the run's metrics.json; ``other_models``: frames of
    each further model, where the video fell apart into several; ``points_total``: of the run, where ``model`` holds but
    a sample of its points; ``uncertainty`` (P,): expected errors of the model's points relative to their distance, NaN
    where unknown, None where none is known.
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
    points_total: int | None = None
    uncertainty: FloatArray | None = None

    @property
    def total(self) -> int:
        """The points of the run."""
        held = 0 if self.model is None else len(self.model.xyz)
        return held if self.points_total is None else self.points_total


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same frames.

    ``frames``: source numbers of the frames used, ascending; ``dropped``: reason by source number of the frames left
    out; ``unit``: of lengths in the common coordinates; ``reference_path`` (N, 3): camera centres of the reference in
    them; ``figures``: content of report.json; ``ground_truth``: of a rendered reference, else None.
    """

    columns: tuple[Column, ...]
    frames: tuple[int, ...]
    dropped: dict[int, str]
    unit: str
    reference_path: FloatArray
    figures: dict[str, Any]
    ground_truth: GroundTruthLookup | None = None

    @property
    def with_model(self) -> list[Column]:
        """The columns of runs that found a model."""
        return [c for c in self.columns if c.model is not None]

    @property
    def run_notes(self) -> list[str]:
        """The notes that each run wrote, with its label."""
        return [f"{c.label}: {note}" for c in self.columns for note in c.metrics.get("degradations", [])]

    def column(self, name: str) -> Column:
        """The column of the run of this name."""
        return next(c for c in self.columns if c.name == name)


def point_figures(model: Model, expected_error: FloatArray, evaluation: Evaluation | None = None) -> PointFigures:
    """Errors, track lengths and triangulation angles of a model, with the errors that rank its points."""
    count, error = len(model.xyz), model_errors_px(model)
    track_length = np.bincount(model.point, minlength=count)
    in_front = np.isfinite(error)
    views = np.bincount(model.point[in_front], minlength=count)
    measured = in_front & is_measured(error)
    total = np.bincount(model.point[measured], weights=error[measured], minlength=count)
    mean = total / np.maximum(np.bincount(model.point[measured], minlength=count), 1)
    mean = np.where((views > 0) | (track_length == 0), mean, np.inf)
    true_error = np.full(len(model.xyz), np.nan)
    if evaluation is not None and evaluation.error_unit == "mm":
        true_error = evaluation.error
    angle = model_angles_deg(model)
    return PointFigures(error, track_length, angle, mean, expected_error, true_error)


def quality_figures(points: PointFigures, chosen: NDArray[np.bool_], model: Model) -> dict[str, Any]:
    """Summaries of errors, track length and angle over the ``chosen`` points (P,) bool."""
    known = points.true_error_mm[chosen & np.isfinite(points.true_error_mm)]
    figures: dict[str, Any] = {
        "track_length_mean": float(points.track_length[chosen].mean()),
        "track_length_median": float(np.median(points.track_length[chosen])),
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
