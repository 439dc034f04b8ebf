"""The figures of metrics.json."""

import resource
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.documents import finite
from dd_sfm.errors import listed
from dd_sfm.features.given_poses import GIVEN
from dd_sfm.io.known_poses import read_known_poses
from dd_sfm.io.run_folder import (
    METRICS,
    ExtractedFrames,
    has_metrics,
    read_frames,
    read_matches,
    read_metrics,
    read_point_figures,
    read_poses,
    readable,
    write_metrics,
)
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.frame_confidence import confidence_figures, frame_poses
from dd_sfm.progress import AROUND
from dd_sfm.sfm.geometry import measured_errors_px
from dd_sfm.sfm.observation_geometry import model_angles_deg, model_errors_px
from dd_sfm.sfm.rigidity import ResidualGrowth
from dd_sfm.structures import MapResult, Model, ModelScale, VerifiedPairs

UNSURE = 0.1
"""Median expected error, relative to the distance, above which a cloud is called unsure."""
LEAST_FRAMES = 6
"""Models of fewer frames check their poses badly: 5 % of the frames of such models were wrong."""
MODELS_NAMED = 8
"""Models that a note names; of more, the first ones."""
LEAST_CONFIRMED, LEAST_MAPS = 0.2, 4
"""Share of the depths of references that others confirm, below which a model is doubted; fewest maps that tell it."""
MORE_PARALLAX = "Where the camera hardly moves, a longer piece or a larger --every gives more parallax"
KNOWN_CAMERA = (
    "A camera that is assumed or estimated may be why: give --calibration, or name the kind of scope with --lens. "
)

MEMORY = ("peak_rss_mb", "peak_gpu_mb")


def run_metrics(
    out: Path,
    *,
    features: str,
    lens: str,
    weights: str | None,
    device: str,
    seconds: Mapping[str, float],
    kept: Sequence[str],
    coverage: Mapping[str, Any],
    start_s: float = 0.0,
    further: Sequence[Note] = (),
) -> dict[str, Any]:
    """The figures of a finished run.

    Args:
        out: The run folder.
        features: Name of the feature method.
        lens: The kind of lens that the user named, which a calibration makes superfluous.
        weights: Its weights, if it has any.
        device: What it ran on.
        seconds: Time by stage, all calls together.
        kept: Stages that an earlier call did. Their memory is that of that call, as far as this one did not take more.
        coverage: What of the surface in view was measured.
        start_s: Seconds before the first stage: what the command loads, and its look at the source.
        further: Notes on what came after the last stage.
    """
    is_new = not kept or not has_metrics(out)
    is_work = is_new or len(kept) < len(seconds)
    before, times = ({}, {}) if is_new else _earlier(out)
    memory = memory_figures() if is_work else {}
    start_s = times.get("start", 0.0) + (start_s if is_work else 0.0)
    times |= {"start": start_s, "coverage": finite(coverage.get("seconds", 0.0))}
    models, frames, match, found = read_point_figures(out), read_frames(out), read_matches(out), read_poses(out)
    told = [*pose_notes(found), *point_notes(models[0], frames.camera), *side_model_notes(found, models)]
    notes = [*frames.notes, *match.notes, *found.notes, *told, *further]
    return {
        "features": features,
        "weights": weights,
        "device": device,
        **frame_counts(frames),
        "frames_registered": models[0]["frames_registered"],
        "models": [m["frames_registered"] for m in models],
        **confidence_figures(frame_poses(frames.kept, found)),
        "model_pieces": [model_pieces(frames, poses) for poses in found.models[: len(models)]],
        "model_details": model_details(frames, found),
        **{k: v for k, v in models[0].items() if k not in ("frames_registered", "focal_length_px")},
        **pair_counts(found.pairs),
        "mapper": found.mapper,
        "coverage": dict(coverage),
        "instruments_share": found.instruments,
        "field_kept": frames.field_kept,
        **(known_figures(out) | camera_figures(frames, models[0].get("focal_length_px") or found.cameras[0].fx)),
        "lens": lens,
        "degradations": [note.text for note in notes],
        "degradation_codes": [note.code.value for note in notes],
        "seconds": _with_total(seconds, times),
        "stages_kept": list(kept),
        **{key: max(m.get(key, 0.0) for m in (memory, before)) for key in MEMORY},
    }


def frame_counts(frames: ExtractedFrames) -> dict[str, int]:
    """How many frames the source has, and what became of them."""
    return {
        "frames_total": frames.frames_in_source,
        "frames_chosen": len(frames.records),
        "frames_thinned": sum(r.dropped is not None and r.dropped.is_thinning for r in frames.records),
        "frames_used": len(frames.kept),
    }


def pair_counts(pairs: VerifiedPairs) -> dict[str, int]:
    """How many pairs of frames were matched, and what was left of them."""
    return {"pairs_tried": pairs.tried, "pairs_verified": pairs.verified, "matches_verified": pairs.matches}


def _earlier(out: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Memory of earlier calls of a run, and their seconds that are none of a stage."""
    with readable(out / METRICS):
        earlier = read_metrics(out)
        memory = {key: finite(value) for key, value in earlier.items() if key in MEMORY}
        seconds = {key: finite(value) for key, value in earlier.get("seconds", {}).items() if key in AROUND}
        return memory, seconds


def known_figures(out: Path) -> dict[str, Any]:
    """How measured poses fit, and the unit that the run has from them; nothing where it was given none."""
    known = read_known_poses(out)
    if known is None:
        return {}
    residuals = {
        name: {"mm": round(frame.residual_mm, 4), "deg": round(frame.residual_deg, 4), "used": frame.is_used}
        for name, frame in known.frames.items()
        if frame.residual_mm is not None and frame.residual_deg is not None
    }
    counted = {"sigma_mm": known.sigma_mm, "sigma_deg": known.sigma_deg}
    figures = {"file": known.file, "exact": known.are_exact, **counted, **known.figures, "residuals": residuals}
    return {"unit": known.unit or None, "known_poses": figures}


def with_report(out: Path, metrics: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Enter what the page of a run took, in time and in memory, into ``metrics.json``; returns the figures."""
    stages = {key: value for key, value in metrics["seconds"].items() if key not in (*AROUND, "total")}
    times = {key: metrics["seconds"][key] for key in AROUND} | {"report": seconds}
    memory = {key: max(value, metrics[key]) for key, value in memory_figures().items()}
    found = metrics | memory | {"seconds": _with_total(stages, times)}
    write_metrics(out, found)
    return found


def _with_total(stages: Mapping[str, float], around: Mapping[str, float]) -> dict[str, float]:
    """Seconds in the order of the work, and their sum."""
    start, coverage, report = (round(around.get(key, 0.0), 2) for key in AROUND)
    found = {"start": start, **stages, "coverage": coverage, "report": report}
    return found | {"total": round(sum(found.values()), 2)}


def _camera_from(camera: PinholeCamera) -> str:
    """Where focal length and distortion come from: "calibration", the "clip", or what is "assumed" of the lens."""
    if camera.is_calibrated:
        return "calibration"
    return "assumed" if camera.is_guess else "clip"


def camera_figures(frames: ExtractedFrames, focal_px: float) -> dict[str, Any]:
    """The camera of the first model, how sure it is, and the lens that was undone.

    Frames without distortion are drawn with a focal length of their own, and may be larger than those of the source.
    """
    lens = frames.lens
    lens_focal_px = lens.pinhole.fx * focal_px / frames.camera.fx if lens else focal_px
    return {
        "calibrated": frames.camera.is_calibrated,
        "camera_from": _camera_from(frames.camera),
        "focal_length_px": round(focal_px, 2),
        "focal_sigma_px": round(frames.camera.focal_sigma * focal_px, 2),
        "lens_focal_length_px": round(lens_focal_px, 2),
        "lens_focal_sigma_px": round(frames.camera.focal_sigma * lens_focal_px, 2),
        "distortion": {"model": lens.model, "params": list(lens.params)} if lens else None,
    }


def model_pieces(frames: ExtractedFrames, poses: Iterable[int]) -> list[dict[str, Any]]:
    """Of which pieces a model holds how many frames, by the positions of its frames among those used."""
    held = [frames.kept[position] for position in sorted(poses)]
    source = {record.piece: record.source.partition("/")[0] if frames.sources else frames.source for record in held}
    counts = Counter(record.piece for record in held)
    return [{"piece": piece, "source": source[piece], "frames": count} for piece, count in sorted(counts.items())]


def model_details(frames: ExtractedFrames, found: MapResult) -> list[dict[str, Any]]:
    """Frames, time span and relative scale of each model.

    ``scale``: units of the first model in one of its own; ``scale_sigma``: standard deviation of its logarithm. Both
    are None where nothing tells, times where none are known.
    """
    details = []
    for number, poses in enumerate(found.models):
        first, last = (frames.kept[position] for position in (min(poses), max(poses)))
        scale = found.scales[number] if number < len(found.scales) else ModelScale()
        details.append(
            {
                "frames": len(poses),
                "first_frame": first.index,
                "last_frame": last.index,
                "seconds": [first.time_s, last.time_s],
                "scale": 1.0 if number == 0 else scale.scale and round(scale.scale, 5),
                "scale_sigma": 0.0 if number == 0 else scale.sigma and round(scale.sigma, 5),
            }
        )
    return details


def model_figures(model: Model) -> dict[str, float | int]:
    """Points, observations, track length, reprojection errors (source pixels) and triangulation angle."""
    if not len(model.point):
        return {"points": 0, "observations": 0}
    error = measured_errors_px(model_errors_px(model))
    mean = round(float(error.mean()), 4)
    return {
        "points": len(model.xyz),
        "observations": len(model.point),
        "mean_track_length": round(len(model.point) / len(model.xyz), 2),
        "mean_reprojection_error_px": mean,
        "median_reprojection_error_px": round(float(np.median(error, overwrite_input=True)), 4),
        "p90_reprojection_error_px": round(float(np.percentile(error, 90, overwrite_input=True)), 4),
        "median_triangulation_angle_deg": round(float(np.median(model_angles_deg(model))), 3),
    }


def pose_notes(found: MapResult) -> list[Note]:
    """What makes checked poses of the first model doubtful all the same; nothing of poses that were given."""
    if not found.models or not _checks_badly(found, 0):
        return []
    which = "the largest model" if len(found.models) > 1 else "the model"
    text = (
        f"{which} has {len(found.models[0])} frames, too few to check one another: the first and the last may be some "
        "per cent of the path off, whatever their confidence. Use a longer piece, or more of its frames"
    )
    return [Note(NoteCode.FEW_FRAMES, text)]


def _checks_badly(found: MapResult, number: int) -> bool:
    """Whether a model's poses were found and checked, by few frames."""
    others = {note.code for note in found.notes} & {NoteCode.POSES_UNCONFIRMED, NoteCode.KNOWN_POSES}
    is_checked = found.mapper != GIVEN and not others and any(found.confidence[number : number + 1])
    return is_checked and 0 < len(found.models[number]) < LEAST_FRAMES


def side_model_notes(found: MapResult, models: Sequence[Mapping[str, Any]]) -> list[Note]:
    """The models after the first that are to be doubted, in one note."""
    few = [k for k in range(1, len(found.models)) if _checks_badly(found, k)]
    shares = [_confirmed_share(figures) for figures in models]
    apart = [k for k, share in enumerate(shares) if k and share is not None and share < LEAST_CONFIRMED]
    doubted = {
        f"fewer than {LEAST_FRAMES} frames, too few to check one another": few,
        "hardly any depth found in one frame is confirmed by others": apart,
    }
    named = {why: listed([f"sparse/{k}" for k in numbers], MODELS_NAMED) for why, numbers in doubted.items()}
    reasons = [f"{names}: {why}" for why, names in named.items() if names]
    text = f"of the further models some are to be doubted ({'; '.join(reasons)})"
    return [Note(NoteCode.MODELS_DOUBTED, text)] if reasons else []


def _confirmed_share(figures: Mapping[str, float | int | None]) -> float | None:
    """Share of the depths of references that others confirm; None where there are too few references to tell."""
    maps, found, confirmed = (figures.get(name) for name in ("depth_maps", "depths_found", "depths_confirmed"))
    if not found or confirmed is None or not maps or maps < LEAST_MAPS:
        return None
    return confirmed / found


def point_notes(figures: Mapping[str, float | int | None], camera: PinholeCamera) -> list[Note]:
    """What went less well with the points of a model, by its figures; of a dense search none where none was made."""
    # A wrong lens bends a model just as little parallax does, and is sooner mended.
    advice = MORE_PARALLAX if camera.is_calibrated else KNOWN_CAMERA + MORE_PARALLAX
    maps, expected = figures.get("depth_maps"), figures.get("median_uncertainty")
    notes = []
    if maps == 0:
        text = "no frame had neighbours fit for the dense search: the points are those of tracks alone"
        notes.append(Note(NoteCode.NO_DEPTH_MAPS, text))
    elif maps is not None and figures.get("dense_points") == 0:
        text = "the dense search found no depth that frames agree on: the points are those of tracks alone. "
        notes.append(Note(NoteCode.NO_DEPTH_AGREEMENT, text + advice))
    elif (share := _confirmed_share(figures)) is not None and share < LEAST_CONFIRMED:
        text = (
            f"only {100 * share:.0f} % of the depths found in single frames are confirmed by others: debris hides the "
            "tissue, it moves, or poses are off. Do not trust the model; try a clearer piece"
        )
        notes.append(Note(NoteCode.FEW_DEPTHS_AGREE, text))
    if figures.get("searched_on_cpu"):
        text = "the dense search ran on the CPU, as numba cannot compile for the GPU; dd-sfm doctor says why"
        notes.append(Note(NoteCode.DENSE_SEARCH_ON_CPU, text))
    growth = ResidualGrowth.read(figures)
    if growth is not None and growth.is_large:
        text = (
            f"{growth.words}, more than where nothing moves: the tissue moves, or poses or camera are off. Do not "
            "trust places far apart in time; try a piece in which the tissue holds still"
        )
        notes.append(Note(NoteCode.SCENE_MOVES, text))
    if expected is not None and expected > UNSURE:
        text = f"half of the points are expected to be more than {100 * expected:.0f} % of their distance off. "
        notes.append(Note(NoteCode.UNCERTAIN_POINTS, text + advice))
    return notes


def reset_memory_peaks() -> None:
    """Count the largest memory anew from here: of two runs in one process each then reports its own."""
    import torch

    # Linux only, and not in every container; the peak then stays that of the process.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def memory_figures() -> dict[str, float]:
    """Largest memory of this process since the last reset, on the host and on the GPU, in MB."""
    import torch

    gpu = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0
    # Linux reports kilobytes.
    return {
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        "peak_gpu_mb": round(gpu, 1),
    }
