"""The figures of metrics.json."""

import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from dd_sfm.sfm.geometry import measured_errors_px, model_rays, reprojection_errors_px, widest_angles_deg
from dd_sfm.structures import Model

UNSURE = 0.1
"""Median expected error, relative to the distance, above which a cloud is called unsure."""
MORE_PARALLAX = "Where the camera hardly moves, a longer piece or a larger --every gives more parallax"


def model_figures(model: Model) -> dict[str, float | int]:
    """Points, observations, track length, reprojection errors (source pixels) and triangulation angle."""
    if not len(model.point):
        return {"points": 0, "observations": 0}
    rays = model_rays(model)
    error = measured_errors_px(reprojection_errors_px(rays, model.xyz))
    return {
        "points": len(model.xyz),
        "observations": len(model.point),
        "mean_track_length": round(len(model.point) / len(model.xyz), 2),
        "mean_reprojection_error_px": round(float(error.mean()), 4),
        "median_reprojection_error_px": round(float(np.median(error)), 4),
        "p90_reprojection_error_px": round(float(np.percentile(error, 90)), 4),
        "median_triangulation_angle_deg": round(float(np.median(widest_angles_deg(rays, model.xyz))), 3),
    }


def point_notes(figures: Mapping[str, float | int | None]) -> list[str]:
    """What went less well with the points of a model, by its figures; of a dense search none where none was made."""
    maps, expected = figures.get("depth_maps"), figures.get("median_uncertainty")
    notes = []
    if maps == 0:
        notes.append("no frame had neighbours fit for the dense search: the points are those of tracks alone")
    elif maps is not None and figures.get("dense_points") == 0:
        notes.append(
            "the dense search found no depth that frames agree on: the points are those of tracks alone. "
            + MORE_PARALLAX
        )
    if expected is not None and expected > UNSURE:
        notes.append(
            f"half of the points are expected to be more than {100 * expected:.0f} % of their distance off. "
            + MORE_PARALLAX
        )
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
