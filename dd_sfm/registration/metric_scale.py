"""The scale of a reconstruction as users give it: ``--scale`` of the commands that write files."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.cameras import camera_centres
from dd_sfm.documents import finite, read_json
from dd_sfm.errors import ConfigError, InputError, reason_of
from dd_sfm.evaluation.model.alignment import align_points
from dd_sfm.io.camera_paths import CameraPath, read_camera_path, split_unit
from dd_sfm.io.metric import MEDIAN_SIGMA, UNITS, MetricScale
from dd_sfm.io.scene import Scene, scene_uncertainty
from dd_sfm.registration.seen_scale import MOST_SIGMA as MOST_SIGMA_SEEN
from dd_sfm.registration.seen_scale import scale_by_baseline, scale_by_tool
from dd_sfm.sfm.geometry import width_share
from dd_sfm.sfm.observation_geometry import mean_distances
from dd_sfm.sfm.path_matching import FrameKeys, near_stamps, positions_at, readings
from dd_sfm.structures import FloatArray

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
POINT = rf"({NUMBER},{NUMBER},{NUMBER})"
FORMS = (
    "0.31 (mm a unit of the reconstruction), 12.5mm@x,y,z:x,y,z (a distance between two of its points), "
    "tum:FILE@mm (camera positions), tool:FRAME:x,y,x,y:5mm (both edges of something round on the tissue), "
    "baseline:4.2mm (of the two sources of a stereo scope) or registration:FILE (of dd-sfm register)"
)
SMALLEST, LARGEST = 1e-9, 1e9
MOST_AWAY = 0.05
"""A place that is given, farther from any point than this share of the known distance, is of no point."""
MIN_POSES = 4
MOST_SIGMA = 0.05
"""A scale by camera positions whose standard deviation is a larger share of it is refused."""
CLEARLY, LEAST_SIGMA = 5.0, 1e-3
"""Of two readings of a file one is meant whose standard deviation, at least the second, is so many times smaller."""
OUTLIER_TIMES = 5.0
"""A camera does not fit that is more times the median error away; of errors in all directions alike none is."""
ALIKE = 5
"""Errors of so many neighbouring cameras count as one."""
STRAIGHT = 0.05
"""A path is called straight whose second extent is below this share of the first."""


def find_scale(text: str, scene: Callable[[], Scene], source: Path | None = None) -> MetricScale:
    """The scale that a text stands for.

    Args:
        text: One of ``FORMS``.
        scene: Reads the reconstruction, where its cameras are needed.
        source: Where the reconstruction is, to tell a registration of another one.

    Raises:
        ConfigError: If the text is none of them.
        InputError: If a file cannot be read, or does not determine the scale.
    """
    kind, _, rest = text.partition(":")
    if kind == "registration":
        return _of_registration(Path(rest), source)
    if kind == "tum":
        return _of_positions(*split_unit(rest), scene())
    if kind == "tool":
        return scale_by_tool(rest, scene())
    if kind == "baseline":
        return scale_by_baseline(rest, scene())
    if plain := re.fullmatch(rf"({NUMBER})\s*(mm|cm|m)?", text.strip()):
        factor = float(plain[1]) * UNITS[plain[2] or "mm"]
        return MetricScale(_checked(factor, text), "mm", "a factor that was given")
    if pair := re.fullmatch(rf"({NUMBER})\s*(mm|cm|m)@{POINT}:{POINT}", text.replace(" ", "")):
        ends = np.array([[float(v) for v in pair[k].split(",")] for k in (3, 4)])
        length, is_model = float(pair[1]) * UNITS[pair[2]], source is not None and source.is_dir()
        return _of_distance(ends, length, text, scene() if is_model else None)
    raise ConfigError(f"--scale {text}: not understood; expected {FORMS}")


def distance_text(length_mm: float, first: FloatArray, second: FloatArray) -> str:
    """The text that :func:`find_scale` reads as a known distance between two points (3,) of the reconstruction.

    The coordinates have so many digits that rounding changes the scale by less than a millionth.

    Raises:
        ConfigError: If the length is not above 0, or both points are the same.
    """
    apart = float(np.linalg.norm(first - second))
    if not 0 < length_mm < np.inf:
        raise ConfigError(f"true length {length_mm:g} mm: expected one above 0")
    if not 0 < apart < np.inf:
        raise ConfigError("both picked points are at the same place: expected two that are apart")
    digits = int(np.clip(np.ceil(6.5 - np.log10(apart)), 0, 300))
    first_text, second_text = (",".join(f"{v:.{digits}f}" for v in xyz) for xyz in (first, second))
    return f"{length_mm:.9g}mm@{first_text}:{second_text}"


def _of_distance(ends: FloatArray, length: float, text: str, scene: Scene | None) -> MetricScale:
    """The scale at which two points (2, 3) are so many mm apart; how sure it is follows from the points' errors.

    Raises:
        ConfigError: If both points are the same.
        InputError: If they are no points of the reconstruction, or their errors leave the scale open.
    """
    apart = float(np.linalg.norm(ends[1] - ends[0]))
    if not apart > 0:
        raise ConfigError(f"--scale {text}: both points are the same; expected two of the reconstruction's points")
    factor, origin = _checked(length / apart, text), f"a known distance of {length:g} mm between two points"
    figures: dict[str, Any] = {"known_distance_mm": length}
    if scene is None:
        return MetricScale(factor, "mm", origin, figures)
    away, nearest = (np.asarray(found) for found in cKDTree(scene.model.xyz).query(ends))
    if away.max() > MOST_AWAY * apart:
        x, y, z = ends[away.argmax()]
        raise InputError(
            f"--scale {text}: {x:g},{y:g},{z:g} is {away.max():.3g} units from the nearest point of the "
            "reconstruction; expected two of its points. Pick them in the page of dd-sfm view"
        )
    uncertainty = scene_uncertainty(scene)
    errors = None if uncertainty is None else (uncertainty * mean_distances(scene.model))[nearest]
    if errors is None or not np.isfinite(errors).all():
        return MetricScale(factor, "mm", origin, figures)
    sigma = float(np.linalg.norm(errors)) / MEDIAN_SIGMA / apart
    if sigma > MOST_SIGMA_SEEN:
        raise InputError(
            f"--scale {text}: the points are {apart:.3g} units apart and may be off by "
            f"{np.linalg.norm(errors):.2g}, which leaves the scale open by {100 * sigma:.0f} %; expected "
            f"{100 * MOST_SIGMA_SEEN:.0f} % or less. Pick two that are farther apart, or surer"
        )
    note = (
        f"scale {factor:.6g} mm a unit, +- {100 * sigma:.2g} %: {length:g} mm between two points that are {apart:.4g} "
        "units apart, if both err independently"
    )
    return MetricScale(factor, "mm", origin, figures | {"scale_sigma": sigma}, (note,))


def _checked(factor: float, text: str) -> float:
    if not SMALLEST <= factor <= LARGEST:
        raise ConfigError(f"--scale {text}: {factor:g} mm a unit; expected more than 0, and a length that can be meant")
    return factor


def _of_registration(path: Path, source: Path | None) -> MetricScale:
    """The scale of a registration.json; that it is ambiguous, or of another reconstruction, is a note."""
    try:
        content = read_json(path)
        factor, unit = finite(content["scale"]), str(content["unit"])
        surface, ambiguous = str(content.get("surface", "a surface")), bool(content.get("ambiguous", False))
        run = Path(str(content["run"])).resolve() if "run" in content else None
        if not SMALLEST <= factor <= LARGEST:
            raise ValueError(f"a scale of {factor:g}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no registration ({reason_of(error)}); expected registration.json of dd-sfm register, with scale "
            "and unit"
        ) from error
    notes = [f"{path}: the registration is ambiguous, so the scale may be wrong"] if ambiguous else []
    here = None if source is None else source.resolve()
    if run is not None and here is not None and not (run.is_relative_to(here) or here.is_relative_to(run)):
        notes.append(
            f"{path}: is of {run}, not of {source}: the scale is right only if both are the same reconstruction"
        )
    if unit in UNITS:
        factor, unit = factor * UNITS[unit], "mm"
    return MetricScale(
        factor, unit, f"registration to {Path(surface).name}", {"scale_ambiguous": ambiguous}, tuple(notes)
    )


def _of_positions(path: Path, unit: str, scene: Scene) -> MetricScale:
    """The scale at which the cameras come to lie at known positions, metres where no unit is given."""
    if len({image.source for image in scene.images}) > 1:
        raise InputError(
            f"--scale tum:{path}: {scene.source} has several sources, each with times of its own; expected a run of "
            "one video. Give the factor itself"
        )
    measured = read_camera_path(path)
    unit = unit or measured.unit
    if measured.is_of_run and not unit:
        raise InputError(
            f"--scale tum:{path}: the trajectory of a run that has a unit of its own; expected one in mm, cm or m, or "
            f"tum:{path}@mm where this is known"
        )
    fits = [_fitted(scene, rows, UNITS[unit or "m"] * known, by) for rows, known, by in _matches(scene, measured)]
    if not fits:
        raise InputError(
            f"{path}: less than {MIN_POSES} positions of cameras, by time or frame number; expected {MIN_POSES} or more"
        )
    best = min(fits, key=lambda fit: fit.sigma)
    if not (best.sigma <= MOST_SIGMA and SMALLEST <= best.scale <= LARGEST):
        raise InputError(
            f"{path}: the cameras spread by {best.spread:.3g} mm (rms) and lie {best.residual:.3g} mm from their "
            f"positions: the scale is open by {100 * best.sigma:.2g} %; expected {100 * MOST_SIGMA:g} % or less. Use a "
            "longer path"
        )
    rivals = [fit for fit in fits if fit.sigma <= CLEARLY * max(best.sigma, LEAST_SIGMA)]
    others = [fit.scale for fit in rivals if abs(fit.scale / best.scale - 1) > MOST_SIGMA]
    if others:
        raise InputError(
            f"{path}: its whole numbers fit the cameras as seconds and as numbers of frames, with scales of "
            f"{best.scale:.4g} and {others[0]:.4g} mm a unit; expected seconds with a fraction, or numbers of all "
            "frames. Add a millisecond to seconds"
        )
    without = f"; {best.left_out} left out, much further from theirs" if best.left_out else ""
    notes = [
        f"scale {best.scale:.6g} mm a unit, +- {100 * best.sigma:.2g} %: {best.cameras} cameras lie "
        f"{best.residual:.3g} mm from their positions (rms), which spread by {best.spread:.3g} mm (rms), "
        f"{best.reading}{without}"
    ]
    notes += measured.notes
    if not unit:
        notes.append(f"{path}: read as metres, as no unit was given: tum:FILE@mm and @cm are the others")
    if best.is_straight:
        notes.append(f"{path}: the path is nearly straight: the residuals say little of errors across it")
    figures: dict[str, Any] = {
        "scale_cameras": best.cameras,
        "scale_cameras_left_out": best.left_out,
        "scale_residual_rms_mm": best.residual,
        "scale_path_rms_mm": best.spread,
        "scale_sigma": best.sigma,
    }
    return MetricScale(best.scale, "mm", f"camera positions of {path.name}", figures, tuple(notes))


@dataclass(frozen=True)
class _Fit:
    """Cameras brought onto known positions, in mm.

    ``cameras``: how many fit, of which the other figures are; ``left_out``: how many do not; ``residual``, ``spread``:
    distance from the positions and extent of these (rms); ``sigma``: standard deviation of the scale, relative to it;
    ``reading``: what the first column was taken for.
    """

    scale: float
    cameras: int
    left_out: int
    residual: float
    spread: float
    sigma: float
    is_straight: bool
    reading: str


def _fitted(scene: Scene, rows: Sequence[int], target: FloatArray, reading: str) -> _Fit:
    centres = camera_centres(np.stack([scene.model.cam_from_world[k] for k in rows]))
    found, error = align_points(centres, target)
    fits = error <= max(OUTLIER_TIMES * float(np.median(error)), 1e-9)
    used, count = target[fits], int(fits.sum())
    spread = float(np.sqrt(np.square(used - used.mean(0)).sum(1).mean()))
    residual = float(np.sqrt(np.square(error[fits]).mean()))
    # Where many do not fit, those that do are chosen, and their residuals say little.
    share = count / len(rows)
    sigma = residual / (spread * share * np.sqrt(max(1.0, count / ALIKE))) if spread > 0 else float("inf")
    straight = width_share(used) < STRAIGHT
    return _Fit(float(found.scale), count, len(rows) - count, residual, spread, sigma, straight, reading)


def _matches(scene: Scene, path: CameraPath) -> list[tuple[list[int], FloatArray, str]]:
    """Registered images with a position, these positions (N, 3), and by what: only what gives enough positions.

    Whole numbers may be seconds or numbers of frames, and what fits better is meant.
    """
    registered = scene.registered
    images = [scene.images[k] for k in registered]
    keys = FrameKeys(
        np.array([float(image.number) for image in images]),
        np.array([np.nan if image.time_s is None else image.time_s for image in images], np.float64),
        tuple((PurePosixPath(image.name).stem,) for image in images),
    )
    found = []
    for way in readings(path, keys):
        near = near_stamps(path, way.wanted, is_exact=way.is_exact)
        if near.sum() >= MIN_POSES:
            rows = [registered[k] for k in np.flatnonzero(near)]
            found.append((rows, positions_at(path, way.wanted[near]), way.by))
    return found
