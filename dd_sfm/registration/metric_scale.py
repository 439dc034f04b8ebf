"""The scale of a reconstruction as users give it: ``--scale`` of the commands that write files."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres
from dd_sfm.documents import finite, read_json, regular
from dd_sfm.errors import ConfigError, InputError, reason_of
from dd_sfm.evaluation.model.alignment import align_points
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.scene import Scene
from dd_sfm.sfm.geometry import width_share
from dd_sfm.structures import FloatArray

SECONDS, NUMBERS = "by seconds", "by numbers of frames"
UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
POINT = rf"({NUMBER},{NUMBER},{NUMBER})"
FORMS = (
    "0.31 (mm a unit of the reconstruction), 12.5mm@x,y,z:x,y,z (a distance between two of its points), "
    "tum:FILE@mm (camera positions) or registration:FILE (of dd-sfm register)"
)
SMALLEST, LARGEST = 1e-9, 1e9
MIN_POSES = 4
MOST_BYTES = 200_000_000
MOST_SIGMA = 0.05
"""A scale by camera positions whose standard deviation is a larger share of it is refused."""
CLEARLY, LEAST_SIGMA = 5.0, 1e-3
"""Of two readings of a file one is meant whose standard deviation, at least the second, is so many times smaller."""
OUTLIER_TIMES = 5.0
"""A camera does not fit that is more times the median error away; of errors in all directions alike none is."""
LARGEST_GAP = 2.5
"""Positions are interpolated between neighbours in time that are at most so many usual steps apart."""
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
        path, _, unit = rest.rpartition("@") if "@" in Path(rest).name else (rest, "", "")
        if unit and unit not in UNITS and not Path(rest).is_file():
            raise ConfigError(f"--scale {text}: unit {unit}; expected one of {', '.join(UNITS)}")
        return _of_positions(Path(path) if unit in UNITS else Path(rest), unit if unit in UNITS else "", scene())
    if plain := re.fullmatch(rf"({NUMBER})\s*(mm|cm|m)?", text.strip()):
        factor = float(plain[1]) * UNITS[plain[2] or "mm"]
        return MetricScale(_checked(factor, text), "mm", "a factor that was given")
    if pair := re.fullmatch(rf"({NUMBER})\s*(mm|cm|m)@{POINT}:{POINT}", text.replace(" ", "")):
        first, second = (np.array([float(v) for v in pair[k].split(",")]) for k in (3, 4))
        length, apart = float(pair[1]) * UNITS[pair[2]], float(np.linalg.norm(first - second))
        if not apart > 0:
            raise ConfigError(f"--scale {text}: both points are the same; expected two of the reconstruction's points")
        return MetricScale(
            _checked(length / apart, text), "mm", f"a known distance of {length:g} mm between two points",
            {"known_distance_mm": length},
        )  # fmt: skip
    raise ConfigError(f"--scale {text}: not understood; expected {FORMS}")


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
    ways = _matches(scene, *_read_positions(path))
    fits = [_fitted(scene, rows, UNITS[unit or "m"] * known, reading) for rows, known, reading in ways]
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


def _read_positions(path: Path) -> tuple[FloatArray, FloatArray]:
    """Times or numbers (N,), ascending, and positions (N, 3) of a TUM file; what follows a position is not read."""
    rows: list[list[float]] = []
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise ValueError("too large for a path")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = line.partition("#")[0].replace(",", " ").split()
            if words and len(words) < 4:
                raise ValueError(f"line {number} has {len(words)} values")
            if words:
                rows.append([float(word) for word in words[:4]])
        values = np.array(rows, np.float64).reshape(-1, 4)
        if not len(values) or not np.isfinite(values).all():
            raise ValueError("no positions, or some that are not finite")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no camera path ({reason_of(error)}); expected lines of time, x, y, z (TUM)"
        ) from error
    values = values[np.unique(values[:, 0], return_index=True)[1]]
    return values[:, 0], values[:, 1:]


def _matches(scene: Scene, time: FloatArray, place: FloatArray) -> list[tuple[list[int], FloatArray, str]]:
    """Registered images with a position, these positions (N, 3), and by what: seconds, and numbers of frames.

    Whole numbers may be either, and what fits better is meant. Only what gives enough positions.
    """
    registered = scene.registered
    numbers = np.array([float(scene.images[k].number) for k in registered])
    known = [scene.images[k].time_s for k in registered]
    times = np.array([np.nan if second is None else second for second in known], np.float64)
    ways = [(*_placed(times, time, place, is_exact=False), SECONDS)] if len(time) > 1 else []
    if (time == np.round(time)).all():
        ways.append((*_placed(numbers, time, place, is_exact=True), NUMBERS))
    elif len(time) > 1 and not np.isfinite(times).any():
        ways.append((*_placed(numbers, time, place, is_exact=False), NUMBERS))
    chosen = [([registered[k] for k in np.flatnonzero(near)], found, reading) for near, found, reading in ways]
    return [way for way in chosen if len(way[0]) >= MIN_POSES]


def _placed(
    wanted: FloatArray, time: FloatArray, place: FloatArray, *, is_exact: bool
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which wanted times (N,) have a position, and these (M, 3); unless exact, interpolated between near neighbours."""
    if is_exact:
        near = np.isin(wanted, time)
    else:
        after = np.clip(np.searchsorted(time, wanted), 1, len(time) - 1)
        step = float(np.median(np.diff(time)))
        inside = (wanted >= time[0] - 1e-6) & (wanted <= time[-1] + 1e-6)
        near = inside & (time[after] - time[after - 1] <= LARGEST_GAP * step)
    return near, np.column_stack([np.interp(wanted[near], time, column) for column in place.T])
