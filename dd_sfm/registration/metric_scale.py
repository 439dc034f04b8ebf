"""The scale of a reconstruction as users give it: ``--scale`` of the commands that write files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.cameras import camera_centres
from dd_sfm.documents import finite, read_json, regular
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.evaluation.model.alignment import align_points
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.scene import Scene
from dd_sfm.sfm.geometry import width_share
from dd_sfm.structures import FloatArray

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
ALIKE = 5
"""Errors of so many neighbouring cameras count as one."""
STRAIGHT = 0.05
"""A path is called straight whose second extent is below this share of the first."""


def find_scale(text: str, scene: Callable[[], Scene]) -> MetricScale:
    """The scale that a text stands for.

    Args:
        text: One of ``FORMS``.
        scene: Reads the reconstruction, where its cameras are needed.

    Raises:
        ConfigError: If the text is none of them.
        InputError: If a file cannot be read, or does not determine the scale.
    """
    kind, _, rest = text.partition(":")
    if kind == "registration":
        return _of_registration(Path(rest))
    if kind == "tum":
        path, _, unit = rest.rpartition("@") if rest.rpartition("@")[2] in UNITS else (rest, "", "m")
        return _of_positions(Path(path), unit, scene())
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


def _of_registration(path: Path) -> MetricScale:
    """The scale of a registration.json; that it is ambiguous, or fits nowhere, is a note."""
    try:
        content = read_json(path)
        factor, unit = finite(content["scale"]), str(content["unit"])
        surface, ambiguous = str(content.get("surface", "a surface")), bool(content.get("ambiguous", False))
        if not SMALLEST <= factor <= LARGEST:
            raise ValueError(f"a scale of {factor:g}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no registration ({error}); expected registration.json of dd-sfm register, with scale and unit"
        ) from error
    notes = (f"{path}: the registration is ambiguous, so the scale may be wrong",) if ambiguous else ()
    if unit in UNITS:
        factor, unit = factor * UNITS[unit], "mm"
    return MetricScale(factor, unit, f"registration to {Path(surface).name}", {"scale_ambiguous": ambiguous}, notes)


def _of_positions(path: Path, unit: str, scene: Scene) -> MetricScale:
    """The scale at which the cameras come to lie at known positions."""
    if len({image.source for image in scene.images}) > 1:
        raise InputError(
            f"--scale tum:{path}: {scene.source} has several sources, each with times of its own; expected a run of "
            "one video. Give the factor itself"
        )
    time, place = _read_positions(path)
    rows, known = _matched(scene, time, place)
    if len(rows) < MIN_POSES:
        raise InputError(
            f"{path}: positions of {len(rows)} of the cameras, by time or frame number; expected {MIN_POSES} or more"
        )
    poses = np.stack([scene.model.cam_from_world[k] for k in rows])
    target = UNITS[unit] * known
    found, error = align_points(camera_centres(poses), target)
    spread = float(np.sqrt(np.square(target - target.mean(0)).sum(1).mean()))
    residual = float(np.sqrt(np.square(error).mean()))
    sigma = residual / (spread * np.sqrt(max(1.0, len(rows) / ALIKE))) if spread > 0 else float("inf")
    if not (sigma <= MOST_SIGMA and SMALLEST <= found.scale <= LARGEST):
        raise InputError(
            f"{path}: the cameras spread by {spread:.3g} mm (rms) and lie {residual:.3g} mm from their positions: "
            f"the scale is open by {100 * sigma:.2g} %; expected {100 * MOST_SIGMA:g} % or less. Use a longer path"
        )
    notes = [
        f"scale {found.scale:.6g} mm a unit, +- {100 * sigma:.2g} %: {len(rows)} cameras lie {residual:.3g} mm from "
        f"their positions (rms), which spread by {spread:.3g} mm (rms)"
    ]
    if width_share(target) < STRAIGHT:
        notes.append(f"{path}: the path is nearly straight: the residuals say little of errors across it")
    figures: dict[str, Any] = {
        "scale_cameras": len(rows),
        "scale_residual_rms_mm": residual,
        "scale_path_rms_mm": spread,
        "scale_sigma": sigma,
    }
    return MetricScale(float(found.scale), "mm", f"camera positions of {path.name}", figures, tuple(notes))


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
        raise InputError(f"{path}: no camera path ({error}); expected lines of time, x, y, z (TUM)") from error
    values = values[np.unique(values[:, 0], return_index=True)[1]]
    return values[:, 0], values[:, 1:]


def _matched(scene: Scene, time: FloatArray, place: FloatArray) -> tuple[list[int], FloatArray]:
    """Registered images with a position, and these positions (N, 3), interpolated between neighbours in time.

    Whole numbers that name the scene's frames are frame numbers, all else is seconds.
    """
    registered = scene.registered
    numbers = np.array([float(scene.images[k].number) for k in registered])
    known = [scene.images[k].time_s for k in registered]
    times = np.array([np.nan if second is None else second for second in known], np.float64)
    by_number = (time == np.round(time)).all() and np.isin(numbers, time).sum() >= MIN_POSES
    wanted = numbers if by_number or not np.isfinite(times).any() else times
    step = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    after = np.clip(np.searchsorted(time, wanted), 1, max(len(time) - 1, 1))
    if len(time) < 2:
        return [], np.zeros((0, 3))
    before = after - 1
    inside = (wanted >= time[0] - 1e-6) & (wanted <= time[-1] + 1e-6)
    near = inside & ((time[after] - time[before]) <= 2.5 * step)
    if by_number:
        near &= np.isin(wanted, time)
    found = np.column_stack([np.interp(wanted, time, column) for column in place.T])
    return [k for k, is_near in zip(registered, near, strict=True) if is_near], found[near]
