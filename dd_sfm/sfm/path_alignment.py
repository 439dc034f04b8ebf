"""Models brought into the coordinates of a measured path, and what of the path does not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose, rotation_angles_deg
from dd_sfm.config import PosesConfig
from dd_sfm.errors import InputError
from dd_sfm.io.known_poses import KnownFrame, KnownPoses
from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.geometry import width_share
from dd_sfm.sfm.hand_eye import PathFit, compose, fit_path, misfits
from dd_sfm.sfm.known_poses import GivenPath, hand_eye_figures, ways_to_read
from dd_sfm.sfm.path_matching import FrameKeys, Reading, near_stamps, poses_at
from dd_sfm.sfm.path_pair import PathPair
from dd_sfm.sfm.piece_notes import frame_names
from dd_sfm.structures import FloatArray, FrameSet

WITHIN_S = 0.5
"""A time offset is looked for so far, unless another bound is given."""
SIGMA_OF_EXACT = (1.0, 1.0)
"""Standard deviations (mm, degrees) by which exact poses weigh against each other, where something is estimated."""
OFF_SIGMAS = 5.0
"""A pose further off is named, and not believed."""
MOST_MISFIT = 0.4
"""Distances from the path, and angles, relative to its own extents, above which it is that of another clip..."""
LEAST_TURNING_DEG = 1.0
"""...where the angles are larger than this, and both than what errors as stated explain."""
MEDIAN_OF_THREE = 1.54
"""Median length of three normal deviates."""
MOST_SIGMA = 0.2
"""Largest standard deviation of the scale, relative to it."""
STRAIGHT, LITTLE_TURNING_DEG = 0.25, 10.0
"""A path whose second extent is below this share of the first, and that turns less, fits those of other clips."""
INEXACT = 1.5
"""From so many times the stated standard deviation on a path is called less exact than stated."""


@dataclass(frozen=True)
class Alignment:
    """How models lie in the world of a path; ``fits`` by model, None for one that has too few poses."""

    given: GivenPath
    way: Reading
    fits: tuple[PathFit | None, ...]
    sigma: tuple[float, float]

    @property
    def first(self) -> PathFit:
        """That of the first model, from which the sensor and the offset are."""
        assert self.fits[0] is not None
        return self.fits[0]


def align_models(
    models: Sequence[Mapping[int, FloatArray]], keys: FrameKeys, given: GivenPath, settings: PosesConfig
) -> Alignment:
    """Bring models onto a path: the first one tells sensor and offset for all.

    Args:
        models: cam_from_world (3, 4) by frame position, the largest first.
        keys: What the frames are known by.
        given: The path.
        settings: What of it is estimated.

    Raises:
        InputError: If the path does not fit, or does not tell the scale.
    """
    sigma = settings.sigma or SIGMA_OF_EXACT
    within = WITHIN_S if settings.within_s is None else settings.within_s
    sensor = None if settings.hand_eye in ("auto", "estimate") else np.eye(3, 4)
    found: list[tuple[float, int, Reading, PathFit]] = []
    for way in ways_to_read(given, keys, settings.offset_s, within):
        pair = _pair(models[0], given, way)
        bound = 0.0 if way.is_exact else within
        start = 0.0 if way.is_exact else settings.offset_s
        is_asked = settings.hand_eye == "estimate"
        fit = fit_path(pair, *sigma, sensor=sensor, is_asked=is_asked, offset=start, within=bound)
        if fit is not None:
            found.append((fit.scale_sigma, len(found), way, fit))
    if not found:
        raise InputError(f"{given.path.path}: too few frames of the model have a pose; expected 4 or more")
    # Few poses by a reading that is not meant may fit well, but leave the scale open.
    _, _, way, fit = min(found, key=lambda one: one[:2])
    _check(models[0], given, way, fit, sigma)
    fits: list[PathFit | None] = [fit]
    for model in models[1:]:
        own = fit_path(_pair(model, given, way), *sigma, sensor=fit.sensor_from_cam, offset=fit.offset_s)
        fits.append(own if own is not None and own.scale_sigma <= MOST_SIGMA else None)
    return Alignment(given, way, tuple(fits), sigma)


def _pair(model: Mapping[int, FloatArray], given: GivenPath, way: Reading) -> PathPair:
    rows = np.array(sorted(model), np.int64)
    world = inverse_pose(np.stack([model[k] for k in rows.tolist()]))
    return PathPair(world, given.path, Reading(way.by, way.wanted[rows], way.is_exact))


def residuals(
    model: Mapping[int, FloatArray], given: GivenPath, way: Reading, fit: PathFit
) -> dict[int, tuple[float, float]]:
    """How far each frame of a model lies from its measured pose in mm and in degrees, by position."""
    wanted = way.wanted + (0.0 if way.is_exact else fit.offset_s)
    near = near_stamps(given.path, wanted, is_exact=way.is_exact)
    rows = [k for k in sorted(model) if near[k]]
    if not rows:
        return {}
    world = inverse_pose(np.stack([model[k] for k in rows]))
    away, turned = misfits(fit, world, poses_at(given.path, wanted[rows]))
    return {k: (float(a), float(t)) for k, a, t in zip(rows, away, turned, strict=True)}


def _check(
    model: Mapping[int, FloatArray], given: GivenPath, way: Reading, fit: PathFit, sigma: tuple[float, float]
) -> None:
    """Refuse a path that is not that of the frames.

    Raises:
        InputError: If it is not, or leaves the scale open.
    """
    found = residuals(model, given, way, fit)
    rows = sorted(found)
    path = compose(poses_at(given.path, way.wanted[rows] + (0 if way.is_exact else fit.offset_s)), fit.sensor_from_cam)
    away, turned = (np.array([found[k][n] for k in rows]) for n in (0, 1))
    # Cameras that shrink to one place explain a path whose sensor turns around them: the smaller extent counts.
    ours = fit.to_path(inverse_pose(np.stack([model[k] for k in rows])))
    spread = min(float(np.sqrt(np.square(p[:, :, 3] - p[:, :, 3].mean(0)).sum(1).mean())) for p in (path, ours))
    middle = Rotation.from_matrix(path[:, :, :3]).mean().as_matrix()
    turning = float(np.sqrt(np.square(rotation_angles_deg(middle.T @ path[:, :, :3])).mean()))
    off, angle = float(np.median(away)), float(np.median(turned))
    explained = [INEXACT * MEDIAN_OF_THREE * one for one in sigma]
    is_placed = off <= max(MOST_MISFIT * spread, explained[0])
    is_turned = angle <= max(MOST_MISFIT * turning, LEAST_TURNING_DEG, explained[1])
    unit = given.unit or "units"
    if not (is_placed and is_turned):
        raise InputError(
            f"{given.path.path}: cameras lie {off:.3g} {unit} and {angle:.3g} degrees from its poses (median), which "
            f"spread by {spread:.3g} {unit} and {turning:.3g} degrees; expected the path of this video. Check the "
            "file, its stamps, --poses-offset and --hand-eye"
        )
    if fit.scale_sigma > MOST_SIGMA:
        raise InputError(
            f"{given.path.path}: its poses leave the scale open by {min(100 * fit.scale_sigma, 999):.0f} %, as they "
            f"spread by {spread:.3g} {unit} with errors of {off:.3g} {unit}; expected {100 * MOST_SIGMA:.0f} % or "
            "less. Use a longer path"
        )


def known_of(
    alignment: Alignment, models: Sequence[Mapping[int, FloatArray]], names: Sequence[str], *, are_exact: bool
) -> KnownPoses:
    """What a run keeps of the measured poses.

    Args:
        alignment: How the models lie in the path's world.
        models: cam_from_world (3, 4) by frame position, as they were aligned.
        names: Of all frames, by position.
        are_exact: Whether the run has these poses.
    """
    given, way, fit, sigma = alignment.given, alignment.way, alignment.first, np.array(alignment.sigma)
    found: dict[int, tuple[float, float]] = {}
    for model, own in zip(models, alignment.fits, strict=True):
        found |= {} if own is None else {k: r for k, r in residuals(model, given, way, own).items() if k not in found}
    wanted = way.wanted + (0.0 if way.is_exact else fit.offset_s)
    near = np.flatnonzero(near_stamps(given.path, wanted, is_exact=way.is_exact))
    poses = inverse_pose(fit.camera_on(poses_at(given.path, wanted[near])))
    off = _far_off(np.array(list(found.values())).reshape(-1, 2), sigma)
    believed = {k for k, is_off in zip(found, off, strict=True) if not is_off}
    kept = np.array([found[k] for k in sorted(believed)] or list(found.values())).reshape(-1, 2)
    rms = np.sqrt(np.square(kept).mean(0))
    counted = np.maximum(sigma, np.where(rms / np.sqrt(3) > INEXACT * sigma, rms / np.sqrt(3), 0))
    # Poses that are kept have no standard deviations, whatever images say of them.
    counted = np.zeros(2) if are_exact else counted
    frames = {
        names[k]: KnownFrame(pose, *found[k], is_used=are_exact or k in believed) if k in found else KnownFrame(pose)
        for k, pose in zip(near.tolist(), poses, strict=True)
    }
    figures = _figures(alignment, rms, len(found), len(found) - len(believed))
    unit = given.unit
    return KnownPoses(given.path.path.name, are_exact, unit, float(counted[0]), float(counted[1]), figures, frames)


def _far_off(residuals: FloatArray, sigma: FloatArray) -> NDArray[np.bool_]:
    """Which residuals (N, 2) in mm and degrees are outliers: by the stated errors, or by the usual ones if larger."""
    usual = np.median(residuals, axis=0) if len(residuals) else np.zeros(2)
    return np.asarray((residuals > OFF_SIGMAS * np.maximum(sigma, usual / np.sqrt(3))).any(1))


def _figures(alignment: Alignment, rms: FloatArray, fitted: int, off: int) -> dict[str, Any]:
    fit = alignment.first
    return {
        "read": alignment.way.by,
        "frames_compared": fitted,
        "frames_off": off,
        "residual_rms_mm": round(float(rms[0]), 4),
        "residual_rms_deg": round(float(rms[1]), 4),
        "scale_sigma": round(fit.scale_sigma, 5),
        "hand_eye_estimated": fit.has_sensor,
        **hand_eye_figures(compose(alignment.given.sensor_from_cam, fit.sensor_from_cam)),
        "hand_eye_sigma_mm": round(fit.sensor_sigma_mm, 3),
        "offset_estimated": fit.has_offset,
        "offset_s": round(fit.offset_s, 4),
        "offset_sigma_s": round(fit.offset_sigma_s, 4),
    }


def alignment_notes(alignment: Alignment, known: KnownPoses, frames: FrameSet) -> list[Note]:
    """What was estimated from a path, and which of its poses images contradict."""
    figures, fit = known.figures, alignment.first
    unit = known.unit or "units"
    text = (
        f"poses of {known.file}, {figures['read']}: {figures['frames_compared']} cameras lie "
        f"{figures['residual_rms_mm']:.3g} {unit} and {figures['residual_rms_deg']:.2g} degrees from them (rms); scale "
        f"known to {100 * fit.scale_sigma:.2g} %"
    )
    if fit.has_sensor:
        text += (
            f"; the camera was found {figures['hand_eye_mm']:.3g} +- {figures['hand_eye_sigma_mm']:.2g} {unit} from "
            f"the sensor and turned by {figures['hand_eye_deg']:.3g} degrees"
        )
    if fit.has_offset:
        text += f"; the path's clock was found {1000 * fit.offset_s:.0f} +- {1000 * fit.offset_sigma_s:.0f} ms ahead"
    return [Note(NoteCode.KNOWN_POSES, text), *_straight(known), *_disagreeing(alignment.sigma, known, frames)]


def _straight(known: KnownPoses) -> list[Note]:
    """Where the path has no shape that would tell it from those of other clips."""
    poses = inverse_pose(np.stack([frame.cam_from_world for frame in known.frames.values()]))
    rotations = Rotation.from_matrix(poses[:, :, :3])
    turning = float(np.degrees(np.median((rotations.mean().inv() * rotations).magnitude())))
    if width_share(poses[:, :, 3]) >= STRAIGHT or turning >= LITTLE_TURNING_DEG:
        return []
    text = (
        f"the path of {known.file} is nearly straight and turns by {turning:.2g} degrees (median): that of another "
        "video that goes straight ahead would fit as well, and give another scale; look that it is this video's"
    )
    return [Note(NoteCode.KNOWN_POSES, text)]


def _disagreeing(sigma: tuple[float, float], known: KnownPoses, frames: FrameSet) -> list[Note]:
    """Where poses are less exact than stated, and which of them are outliers."""
    notes, unit, (sigma_mm, sigma_deg) = [], known.unit or "units", sigma
    if not known.are_exact and (known.sigma_mm > sigma_mm or known.sigma_deg > sigma_deg):
        text = (
            f"the poses of {known.file} are less exact than --poses-sigma {sigma_mm:g},{sigma_deg:g} says: they count "
            f"with {known.sigma_mm:.3g} {unit} and {known.sigma_deg:.2g} degrees by axis"
        )
        notes.append(Note(NoteCode.KNOWN_POSES_DISAGREE, text))
    away = {
        k: (found.residual_mm, found.residual_deg)
        for k, frame in enumerate(frames.frames)
        if (found := known.frames.get(frame.path.stem)) and found.residual_mm is not None
    }
    residuals = np.array(list(away.values()), np.float64).reshape(-1, 2)
    off = [k for k, is_off in zip(away, _far_off(residuals, np.array(sigma)), strict=True) if is_off]
    if off:
        worst = max(away[k][0] for k in off)
        far = "much further than usual" if known.are_exact else f"more than {OFF_SIGMAS:g} standard deviations"
        end = "were kept, as no --poses-sigma was given" if known.are_exact else "were not believed"
        text = (
            f"{len(off)} measured poses lie {far} from what images say, up to {worst:.3g} {unit}, and {end}: those of "
            f"frames {frame_names(off, frames)}"
        )
        notes.append(Note(NoteCode.KNOWN_POSES_DISAGREE, text))
    return notes
