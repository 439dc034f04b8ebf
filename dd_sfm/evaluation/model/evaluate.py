"""A model measured against a reference: poses, points, and how much of the surface is there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.evaluation.model.alignment import (
    DOUBTFUL,
    UNRELATED,
    Similarity,
    align_cameras,
    misfit,
    turning_misfit,
)
from dd_sfm.evaluation.model.ground_truth import InTruth
from dd_sfm.evaluation.model.pose_reference import (
    EvaluatedRun,
    common_frames,
    open_pose_reference,
    open_run,
    run_in_truth,
)
from dd_sfm.evaluation.model.reprojection import behind_notes, reprojection_summary
from dd_sfm.evaluation.model.surface import (
    BEST,
    MIN_OBSERVATIONS,
    VisibleSurface,
    distinct_cells,
    point_errors,
    surface_figures,
    true_observations,
    visible_surface,
)
from dd_sfm.evaluation.model.trajectory import GAPS, Trajectory, path_length, relative_poses, trajectory_figures
from dd_sfm.evaluation.model.uncertainty_calibration import calibration_figures
from dd_sfm.io.clouds import run_uncertainty
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px
from dd_sfm.structures import FloatArray, Model

MADE_BY = "dd-sfm evaluate model"
DOUBTFUL_POINTS = 0.1
"""A median error of this share of the distance, after aligning by the points themselves, is no measurement of them."""


@dataclass(frozen=True)
class Evaluation:
    """The figures, and what pictures are made of.

    ``figures``: what evaluation.json holds; ``xyz`` (P, 3) the points in the frame and unit of the reference;
    ``error`` (P,) of each point in ``error_unit``: its true error where the reference knows it (NaN where it does
    not), else its reprojection error; ``time_s`` by source frame, empty when not known; ``in_truth``: where the run
    lies in a rendered clip.
    """

    figures: dict[str, Any]
    trajectory: Trajectory
    xyz: FloatArray
    error: FloatArray
    error_unit: str
    unit: str
    time_s: dict[int, float]
    in_truth: InTruth | None = None


def evaluate_model(
    run_path: Path, reference_path: Path, *, best: Sequence[int] = BEST, gaps: Sequence[int] = GAPS
) -> Evaluation:
    """Measure a run or COLMAP model.

    Args:
        run_path: Run folder or COLMAP model folder.
        reference_path: Rendered clip, JHU sequence, COLMAP model or run.
        best: Numbers of best points to measure on their own, so that models of different density compare.
        gaps: Distances in frames for relative pose errors.

    Raises:
        InputError: If either cannot be read, or they share fewer than 3 frames.
    """
    run, reference = open_run(run_path), open_pose_reference(reference_path)
    frames = common_frames(run, reference)
    aligned = align_cameras(frames.poses, frames.reference_poses)
    similarity = aligned.similarity
    length = path_length(reference.cam_from_world)
    trajectory = Trajectory(np.array(frames.run), similarity.poses(frames.poses), frames.reference_poses, length)
    error_px = reprojection_errors_px(model_rays(run.model), run.model.xyz)
    figures: dict[str, Any] = {
        "made_by": MADE_BY,
        "model": str(run.model_folder),
        "reference": str(reference_path),
        "reference_kind": reference.kind,
        "unit": reference.unit,
        "frames_registered": len(run.model.cam_from_world),
        "frames_total": len(reference.frames),
        "frames_used": run.frames_used or None,
        "frames_common": len(frames.run),
        "frame_numbering": frames.numbering,
        "frames_aligned": int(aligned.used.sum()),
        "alignment": {
            "scale": similarity.scale,
            "rotation": similarity.rotation.tolist(),
            "shift": similarity.shift.tolist(),
        },
        "trajectory": trajectory_figures(trajectory),
        "relative_pose": [asdict(row) for row in relative_poses(trajectory, gaps)],
        "points": _point_figures(run.model, error_px),
        "surface": None,
        "calibration": None,
        "camera_misfit": misfit(trajectory.estimate[aligned.used], trajectory.reference[aligned.used]),
        "turning_misfit": turning_misfit(trajectory.estimate, trajectory.reference),
        "warnings": [],
        "notes": [*frames.notes, *behind_notes(error_px)],
    }
    if not aligned.used.all():
        figures["notes"].append(f"{int((~aligned.used).sum())} cameras are far off and took no part in the alignment")
    error, error_unit, in_truth = run.model.error_px, "px", None
    if reference.truth is not None:
        in_truth = run_in_truth(run, reference.truth, frames)
        found, error = _surface(run, frames.run, in_truth, similarity, best, figures["notes"])
        figures, error_unit = figures | found, "mm"
    figures["warnings"] = _warnings(figures)
    xyz = similarity.points(run.model.xyz)
    return Evaluation(figures, trajectory, xyz, error, error_unit, reference.unit, run.time_s, in_truth)


def _point_figures(model: Model, error_px: FloatArray) -> dict[str, Any]:
    points, observations = len(model.xyz), len(model.point)
    return {
        "points": points,
        "points_in_distinct_cells": distinct_cells(model),
        "observations": observations,
        "mean_track_length": observations / points if points else 0.0,
        **reprojection_summary(error_px),
    }


def _surface(
    run: EvaluatedRun,
    frames: Sequence[int],
    in_truth: InTruth,
    similarity: Similarity,
    best: Sequence[int],
    notes: list[str],
) -> tuple[dict[str, Any], FloatArray]:
    """Figures against the true surface, and the error of every point; no figures without enough observations."""
    model = run.model
    if in_truth.truth.deformation > 0:
        notes.append("the tissue of the reference moves: part of the errors and gaps is its motion")
    observed = true_observations(model, frames, in_truth)
    if len(observed.point) < MIN_OBSERVATIONS:
        notes.append(
            f"{len(observed.point)} observations in frames with true depth; at least {MIN_OBSERVATIONS} needed for "
            "the points' errors"
        )
        return {}, np.full(len(model.xyz), np.nan)
    quality, by = point_quality(run)
    surface: VisibleSurface = visible_surface(in_truth.truth)
    figures = surface_figures(model, observed, surface, similarity, quality, best)
    errors = point_errors(observed, similarity, len(model.xyz))
    known = errors[np.isfinite(errors)]
    per_point = {
        "points": len(known),
        "error_median_mm": float(np.median(known)),
        "error_p90_mm": float(np.percentile(known, 90)),
    }
    calibration = None
    if by == "uncertainty":
        calibration = calibration_figures(quality, point_errors(observed, similarity, len(model.xyz), relative=True))
    return {"surface": figures | {"best_by": by, "per_point": per_point}, "calibration": calibration}, errors


def _warnings(figures: dict[str, Any]) -> list[str]:
    """What speaks for a reference that shows something else than the model, or for a model that failed."""
    found = []
    if figures["camera_misfit"] > DOUBTFUL:
        found.append(
            f"the cameras are off by {100 * figures['camera_misfit']:.0f} % of the path's extent (rms), even after "
            "alignment"
        )
    if figures["turning_misfit"] is not None and figures["turning_misfit"] > UNRELATED:
        found.append(
            f"the cameras turn another way: their turns are off by {figures['turning_misfit']:.1f} times the size of "
            "the reference's"
        )
    surface = figures["surface"]
    if surface and surface["aligned_by_points"]["error_median_rel"] > DOUBTFUL_POINTS:
        share = surface["aligned_by_points"]["error_median_rel"]
        found.append(
            f"half of the points are more than {100 * share:.0f} % of their distance off, even after alignment"
        )
    if not found:
        return []
    return [f"{'; '.join(found)}: is {figures['reference']} of the same video? If it is, this model failed"]


def point_quality(run: EvaluatedRun) -> tuple[FloatArray, str]:
    """What ranks the points (P,), lower is better: ``uncertainty`` from the run's points.ply, else ``error_px``."""
    expected = run_uncertainty(run.run, run.model.xyz) if run.run else None
    return (run.model.error_px, "error_px") if expected is None else (expected, "uncertainty")
