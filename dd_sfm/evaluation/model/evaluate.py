"""Measure a model against a reference: its poses, its points, and how much of the surface they cover."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.evaluation.model.alignment import (
    MAX_TURNING_MISFIT,
    SUSPECT_CAMERA_MISFIT,
    CameraAlignment,
    align_cameras,
    camera_misfit,
    turning_misfit,
)
from dd_sfm.evaluation.model.frame_numbering import CommonFrames, Numbering
from dd_sfm.evaluation.model.ground_truth import GroundTruthLookup
from dd_sfm.evaluation.model.pose_reference import (
    EvaluatedRun,
    PoseReference,
    common_frames,
    ground_truth_lookup,
    open_pose_reference,
    open_run,
)
from dd_sfm.evaluation.model.reprojection import behind_camera_notes, reprojection_summary
from dd_sfm.evaluation.model.surface import (
    BEST_COUNTS,
    MIN_OBSERVATIONS,
    distinct_cells,
    point_errors,
    surface_figures,
    true_observations,
    visible_surface,
)
from dd_sfm.evaluation.model.trajectory import GAPS, Trajectory, path_length, relative_poses, trajectory_figures
from dd_sfm.evaluation.model.uncertainty_calibration import calibration_figures
from dd_sfm.io.clouds import run_uncertainty
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.sfm.observation_geometry import model_errors_px
from dd_sfm.structures import FloatArray, Model

MADE_BY = "dd-sfm evaluate model"
SUSPECT_POINT_ERROR = 0.1
"""Median error of the points, relative to their distance, above which the user is warned: such points are no
measurement. The cloud was aligned by its own points first.
"""  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model, and what its plots are made from.

    ``figures``: content of evaluation.json; ``xyz`` (P, 3): points in the coordinates and unit of the reference;
    ``error`` (P,): error of each point in ``error_unit``, which is the true error in mm against a rendered clip (NaN
    where unknown) and the reprojection error in px otherwise; ``time_s``: by source frame, empty when unknown;
    ``alignment``: of the cameras; ``numbering``: how frame numbers correspond; ``ground_truth``: of a rendered clip.
    """

    figures: dict[str, Any]
    trajectory: Trajectory
    xyz: FloatArray
    error: FloatArray
    error_unit: str
    unit: str
    time_s: dict[int, float]
    alignment: CameraAlignment
    numbering: Numbering
    ground_truth: GroundTruthLookup | None = None


def evaluate_model(
    run_path: Path, reference_path: Path, *, best: Sequence[int] = BEST_COUNTS, gaps: Sequence[int] = GAPS
) -> Evaluation:
    """Measure a run or COLMAP model against a reference.

    Args:
        run_path: Run folder or COLMAP model folder.
        reference_path: Rendered clip, JHU sequence, COLMAP model, run, or file of poses.
        best: Numbers of best points to measure on their own, so that models of different density compare.
        gaps: Frame gaps of the relative pose errors.

    Raises:
        InputError: If either cannot be read, or they share fewer than 3 frames.
    """
    run = open_run(run_path)
    reference = open_pose_reference(reference_path, run.time_s, run.model.cam_from_world)
    frames = common_frames(run, reference)
    alignment = align_cameras(frames.poses, frames.reference_poses)
    length = path_length(reference.cam_from_world, *_part_of_reference(run, frames))
    trajectory = Trajectory(np.array(frames.run), alignment.aligned, alignment.reference, length)
    figures = _model_figures(run, reference, frames, alignment, trajectory, gaps)
    error, error_unit, ground_truth = run.model.error_px, "px", None
    if reference.truth is not None:
        ground_truth = ground_truth_lookup(run, reference.truth, frames)
        found, error = _point_errors_in_mm(run, frames.run, ground_truth, alignment.similarity, best, figures["notes"])
        figures, error_unit = figures | found, "mm"
    figures["warnings"] = _warnings(figures)
    return Evaluation(
        figures,
        trajectory,
        alignment.similarity.points(run.model.xyz),
        error,
        error_unit,
        reference.unit,
        run.time_s,
        alignment,
        frames.numbering,
        ground_truth,
    )


def _part_of_reference(run: EvaluatedRun, frames: CommonFrames) -> tuple[int, int]:
    """First and last frame of the reference that the run was made of, also where it has no pose of them."""
    number = frames.reference_number
    seen = [number[frame] for frame in run.time_s or run.model.cam_from_world if frame in number]
    return min(seen), max(seen)


def _model_figures(
    run: EvaluatedRun,
    reference: PoseReference,
    frames: CommonFrames,
    alignment: CameraAlignment,
    trajectory: Trajectory,
    gaps: Sequence[int],
) -> dict[str, Any]:
    """All figures that need no true depth; those of the surface and the warnings are still empty."""
    similarity, used = alignment.similarity, alignment.used
    error_px = model_errors_px(run.model)
    figures: dict[str, Any] = {
        "made_by": MADE_BY,
        "model": str(run.model_folder),
        "reference": str(reference.path),
        "reference_kind": reference.kind,
        "unit": reference.unit,
        "frames_registered": len(run.model.cam_from_world),
        "frames_total": len(reference.frames),
        "frames_used": run.frames_used or None,
        "frames_common": len(frames.run),
        "frame_numbering": frames.numbering.value,
        "frames_aligned": int(used.sum()),
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
        "camera_misfit": camera_misfit(trajectory.estimate[used], trajectory.reference[used]),
        "turning_misfit": turning_misfit(trajectory.estimate, trajectory.reference),
        "warnings": [],
        "notes": [*frames.notes, *behind_camera_notes(error_px)],
    }
    if not used.all():
        figures["notes"].append(f"{int((~used).sum())} cameras are far off and were left out of the alignment")
    return figures


def _point_figures(model: Model, error_px: FloatArray) -> dict[str, Any]:
    points, observations = len(model.xyz), len(model.point)
    return {
        "points": points,
        "points_in_distinct_cells": distinct_cells(model),
        "observations": observations,
        "mean_track_length": observations / points if points else 0.0,
        **reprojection_summary(error_px),
    }


def _point_errors_in_mm(
    run: EvaluatedRun,
    frames: Sequence[int],
    ground_truth: GroundTruthLookup,
    similarity: Similarity,
    best: Sequence[int],
    notes: list[str],
) -> tuple[dict[str, Any], FloatArray]:
    """Figures against the true surface, and the error (P,) of every point, NaN where it is unknown.

    Without enough observations in frames with depth there are no figures, and a note says so.
    """
    model = run.model
    if ground_truth.truth.deformation > 0:
        notes.append("the tissue in the reference moves, which accounts for a part of the errors and gaps")
    observed = true_observations(model, frames, ground_truth)
    if len(observed.point) < MIN_OBSERVATIONS:
        notes.append(
            f"{len(observed.point)} observations in frames with true depth; errors of points need at least "
            f"{MIN_OBSERVATIONS}"
        )
        return {}, np.full(len(model.xyz), np.nan)
    ranking, ranked_by = point_ranking(run)
    surface = visible_surface(ground_truth.truth)
    figures = surface_figures(model, observed, surface, similarity, ranking, best)
    errors = point_errors(observed, similarity, len(model.xyz))
    known = errors[np.isfinite(errors)]
    per_point = {
        "points": len(known),
        "error_median_mm": float(np.median(known)),
        "error_p90_mm": float(np.percentile(known, 90)),
    }
    calibration = None
    if ranked_by == "uncertainty":
        calibration = calibration_figures(ranking, point_errors(observed, similarity, len(model.xyz), relative=True))
    return {"surface": figures | {"best_by": ranked_by, "per_point": per_point}, "calibration": calibration}, errors


def _warnings(figures: dict[str, Any]) -> list[str]:
    """A warning where the reference seems to show another video than the model, or the model failed."""
    found = []
    if figures["camera_misfit"] > SUSPECT_CAMERA_MISFIT:
        found.append(
            f"after alignment the cameras are still off by {100 * figures['camera_misfit']:.0f} % of the path's extent "
            "(rms)"
        )
    if figures["turning_misfit"] is not None and figures["turning_misfit"] > MAX_TURNING_MISFIT:
        found.append(
            "the cameras rotate in another way than the reference's: the errors of their rotations are "
            f"{figures['turning_misfit']:.1f} times as large as the rotations"
        )
    surface = figures["surface"]
    if surface and surface["aligned_by_points"]["error_median_rel"] > SUSPECT_POINT_ERROR:
        share = surface["aligned_by_points"]["error_median_rel"]
        found.append(
            f"after alignment half of the points are still off by more than {100 * share:.0f} % of their distance"
        )
    if not found:
        return []
    return [f"{'; '.join(found)}. Does {figures['reference']} show the same video? If it does, this model failed"]


def point_ranking(run: EvaluatedRun) -> tuple[FloatArray, str]:
    """Values (P,) that rank the points, least first, and their name.

    They are the ``uncertainty`` in the run's points.ply, or the reprojection errors ``error_px`` where there is none.
    """
    expected = run_uncertainty(run.run, run.model.xyz) if run.run else None
    return (run.model.error_px, "error_px") if expected is None else (expected, "uncertainty")
