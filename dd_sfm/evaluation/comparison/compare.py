"""Compare several runs on the same frames: their models in common coordinates, and all figures of each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError
from dd_sfm.evaluation.comparison.result import Column, Comparison, Entry, point_figures, quality_figures
from dd_sfm.evaluation.comparison.verdict import verdict
from dd_sfm.evaluation.model.alignment import align_common_cameras
from dd_sfm.evaluation.model.evaluate import Evaluation, evaluate_model, point_ranking
from dd_sfm.evaluation.model.frame_numbering import Numbering
from dd_sfm.evaluation.model.pose_reference import EvaluatedRun, open_pose_reference, open_run
from dd_sfm.evaluation.model.reprojection import behind_camera_notes
from dd_sfm.evaluation.model.surface import distinct_cells
from dd_sfm.evaluation.model.trajectory import path_length
from dd_sfm.io.run_folder import has_metrics, read_frame_records, read_metrics
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray, Model

MADE_BY = "dd-sfm compare"
IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))


def compare_runs(entries: Sequence[Entry], reference: Path | None = None) -> Comparison:
    """Compare runs on the same frames, in the coordinates of the reference, or else of the first run with a model.

    Args:
        entries: The runs, the learned one first, SIFT second.
        reference: Rendered clip, JHU sequence, COLMAP model or run to measure all runs against.

    Where no run fits the reference, nothing is measured against it, and ``warnings`` in the figures says why.

    Raises:
        InputError: If a model or the reference cannot be read, or a model is empty.
    """
    notes: list[str] = []
    warnings: list[str] = []
    runs = {e.name: _open(e) for e in entries if not e.failure}
    if not runs:
        raise InputError("comparison: no run has a model; expected at least one. Repeat dd-sfm compare")
    evaluations, unit = _evaluate(runs, reference, notes, warnings) if reference else ({}, "scene units")
    columns = _aligned_columns(entries, runs, evaluations, notes)
    equal = _equal_number(columns)
    columns = [replace(c, figures=_figures(c, equal, evaluations.get(c.name))) for c in columns]
    frames, dropped = _frames(entries[0].folder)
    path = _reference_path(reference) if reference and evaluations else np.zeros((0, 3))
    ground_truth = next((e.ground_truth for e in evaluations.values()), None)
    figures = {
        "made_by": MADE_BY,
        "reference": str(reference) if reference else None,
        "unit": unit,
        "frames_used": len(frames),
        "frames_dropped": len(dropped),
        "points_at_equal_number": equal,
        "verdict": verdict(columns[0], columns[1]) if len(columns) > 1 else "",
        "warnings": warnings,
        "notes": notes,
        "runs": {c.name: {"label": c.label, "failure": c.failure or None} | c.figures for c in columns},
    }
    return Comparison(tuple(columns), frames, dropped, unit, path, figures, ground_truth)


def _open(entry: Entry) -> EvaluatedRun:
    run = open_run(entry.folder)
    if not len(run.model.xyz):
        raise InputError(
            f"{run.model_folder}: the model of {entry.name} has no points; expected a cloud to compare. "
            "Repeat with --overwrite"
        )
    return run


def _evaluate(
    runs: dict[str, EvaluatedRun], reference: Path, notes: list[str], warnings: list[str]
) -> tuple[dict[str, Evaluation], str]:
    """Measure every run against the reference; returns the evaluations by run name, and the unit of lengths.

    A run that shares too few frames with the reference gets a note instead. Where no run fits the reference, it shows
    another video: there are no evaluations then, and a warning.
    """
    unit = open_pose_reference(reference).unit
    found: dict[str, Evaluation] = {}
    numberings: dict[Numbering, list[str]] = {}
    failures = []
    for name, run in runs.items():
        try:
            evaluation = evaluate_model(run.root, reference, best=())
        except InputError as error:
            failures.append(f"--reference {reference}: no run could be measured against it: {error}")
            notes.append(f"{name}: not measured against the reference: {error}")
            continue
        if not evaluation.alignment.agrees:
            notes.append(
                f"{name}: its cameras do not match those of {reference}; it failed, or they are of different videos"
            )
        found[name] = evaluation
        numberings.setdefault(evaluation.numbering, []).append(name)
    if not any(evaluation.alignment.agrees for evaluation in found.values()):
        mismatch = f"--reference {reference}: its cameras match those of no run; expected a reference of the same video"
        warnings.append(mismatch if found else failures[0])
        return {}, "scene units"
    notes += [
        f"{', '.join(names)}: frames were found in the reference by the {numbering.value}"
        for numbering, names in numberings.items()
        if numbering is not Numbering.SAME_NUMBERS
    ]
    return found, unit


def _expected_errors(run: EvaluatedRun) -> FloatArray:
    """Expected errors (P,) that rank the points: the run's own, or else derived from their reprojection errors.

    These are divided by the square root of the number of views, as the error of a mean is.
    """
    ranking, ranked_by = point_ranking(run)
    if ranked_by == "uncertainty":
        return ranking
    views = np.bincount(run.model.point, minlength=len(run.model.xyz))
    return ranking / np.sqrt(np.maximum(views, 1))


def _aligned_columns(
    entries: Sequence[Entry], runs: dict[str, EvaluatedRun], evaluations: dict[str, Evaluation], notes: list[str]
) -> list[Column]:
    """Bring the models of all runs into common coordinates."""
    # A run that was measured comes first, so that the common coordinates are the reference's.
    base_name = next(iter(evaluations or runs))
    to_reference = evaluations[base_name].alignment.similarity if base_name in evaluations else IDENTITY
    base = _transformed(runs[base_name].model, to_reference)
    columns = []
    for entry in entries:
        metrics = _metrics(entry.folder)
        if entry.name not in runs:
            columns.append(Column(entry.name, entry.label, entry.folder, entry.failure, metrics))
            continue
        model, aligned, alignment = base, True, None
        if entry.name != base_name:
            model, aligned, alignment = _align(runs[entry.name].model, base, entry.name, base_name, notes)
        evaluation = evaluations.get(entry.name)
        points = point_figures(model, _expected_errors(runs[entry.name]), evaluation)
        notes += [f"{entry.name}: {note}" for note in behind_camera_notes(points.error_px)]
        columns.append(
            Column(
                entry.name,
                entry.label,
                entry.folder,
                "",
                metrics,
                model,
                points,
                aligned,
                {"alignment": alignment},
                _other_models(entry.folder),
            )
        )
    return columns


def _align(
    model: Model, base: Model, name: str, base_name: str, notes: list[str]
) -> tuple[Model, bool, dict[str, Any] | None]:
    """Align a model to the base by the images that both registered.

    Returns:
        The model, whether it could be aligned, and the figures of the alignment.
    """
    common = sorted(model.cam_from_world.keys() & base.cam_from_world.keys())
    try:
        found = align_common_cameras(model.cam_from_world, base.cam_from_world)
    except InputError:
        notes.append(
            f"{name} and {base_name} share {len(common) or 'no'} registered image{'s' if len(common) > 1 else ''}; at "
            "least 3 along a path are needed to align them, so each is shown in its own coordinates"
        )
        return _transformed(model, _rough_similarity(model, base)), False, None
    distance = np.linalg.norm(camera_centres(found.aligned) - camera_centres(found.reference), axis=1)
    path = path_length({f: base.cam_from_world[f] for f in common})
    figures = {
        "images_common": len(common),
        "images_used": int(found.used.sum()),
        "camera_distance_rms_pct_path": float(100 * np.sqrt(np.square(distance[found.used]).mean()) / path),
    }
    return _transformed(model, found.similarity), True, figures


def _rough_similarity(model: Model, base: Model) -> Similarity:
    """The transform that gives both clouds the same centre and size, only to have both in one picture."""
    centres = [np.median(m.xyz, 0) for m in (model, base)]
    sizes = [float(np.median(np.linalg.norm(m.xyz - c, axis=1))) for m, c in zip((model, base), centres, strict=True)]
    scale = sizes[1] / max(sizes[0], 1e-12)
    return Similarity(scale, np.eye(3), centres[1] - scale * centres[0])


def _transformed(model: Model, similarity: Similarity) -> Model:
    # Depths grow with the scale of the transform; projections stay the same.
    poses = similarity.poses_by_frame(model.cam_from_world)
    return replace(model, xyz=similarity.points(model.xyz), cam_from_world=poses)


def _equal_number(columns: Sequence[Column]) -> int | None:
    """The smaller number of points of the first two runs; None unless both have a model."""
    first = [c.model for c in columns[:2]]
    return min(len(m.xyz) for m in first if m is not None) if len(first) == 2 and all(first) else None


def _figures(column: Column, equal: int | None, evaluation: Evaluation | None) -> dict[str, Any]:
    """All figures of a run, beginning with its metrics.json."""
    figures: dict[str, Any] = {"metrics": column.metrics or None} | column.figures
    if column.model is None or column.points is None:
        return figures
    model, points = column.model, column.points
    figures |= {
        "frames_registered": len(model.cam_from_world),
        "models": [len(model.cam_from_world), *(len(m) for m in column.other_models)],
        "points": len(model.xyz),
        "points_in_distinct_cells": distinct_cells(model),
        "observations": len(model.point),
        **quality_figures(points, np.ones(len(model.xyz), bool), model),
        "best": None,
        "truth": _truth_figures(evaluation),
    }
    if equal is not None:
        chosen = np.zeros(len(model.xyz), bool)
        chosen[np.argsort(points.expected_error, kind="stable")[:equal]] = True
        figures["best"] = {"points": int(chosen.sum())} | quality_figures(points, chosen, model)
    return figures


def _truth_figures(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    keys = ("frames_common", "trajectory", "relative_pose", "surface", "notes")
    return {key: evaluation.figures[key] for key in keys}


def _reference_path(reference: Path) -> FloatArray:
    poses = open_pose_reference(reference).cam_from_world
    return camera_centres(np.stack([poses[f] for f in sorted(poses)]))


def _other_models(folder: Path) -> tuple[frozenset[int], ...]:
    """Frames of each further model of a run, where the video fell apart into several."""
    found = []
    number = 1
    while (folder / "sparse" / str(number) / "images.bin").is_file():
        found.append(frozenset(open_run(folder / "sparse" / str(number)).model.cam_from_world))
        number += 1
    return tuple(found)


def _metrics(folder: Path) -> dict[str, Any]:
    """The content of a run's metrics.json; empty when the run was not finished."""
    return read_metrics(folder) if has_metrics(folder) else {}


def _frames(folder: Path) -> tuple[tuple[int, ...], dict[int, str]]:
    """Source numbers of the frames that a run used, and the reasons by number of those that it dropped.

    Frames that were only thinned out are neither.
    """
    records = read_frame_records(folder)
    used = tuple(sorted(r.index for r in records if r.kept))
    dropped = {r.index: r.detail for r in records if r.dropped is not None and not r.dropped.is_thinning}
    return used, dropped
