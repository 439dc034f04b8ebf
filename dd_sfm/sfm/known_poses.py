"""Poses that a tracker, a robot or another reconstruction measured: read, told apart from those of another clip."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, inverse_pose
from dd_sfm.config import Config, PosesConfig
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.io.camera_paths import MODEL_FILES, CameraPath, read_camera_path, split_unit
from dd_sfm.io.metric import UNITS
from dd_sfm.io.transforms import read_transform
from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.hand_eye import compose
from dd_sfm.sfm.pair_support import PairSupport, pair_supports
from dd_sfm.sfm.path_matching import FrameKeys, Reading, describe_span, near_stamps, poses_at, readings
from dd_sfm.sfm.piece_notes import frame_names
from dd_sfm.structures import FloatArray, FrameRecord, FrameSet, Tracks

HAND_EYE_WORDS = ("auto", "none", "estimate")
"""What ``--hand-eye`` takes besides a file."""
LEAST_FRAMES = 3
LEAST_AGREEING = 0.55
"""Poses of another clip agree with fewer of the matches that could, and so do such that are far from exact."""
EXACT_AGREEING = 0.9
"""Poses that are exact agree with more of them."""
NAMED_SHARE = 0.5
"""A frame is named that agrees with less than this share of what is usual."""
MOST_COUNTED = 100
"""Matches of a pair count at most so often."""


@dataclass(frozen=True)
class GivenPath:
    """A measured path in mm, or in the unit of its file where that is arbitrary (``unit`` ""); what to say of it.

    ``sensor_from_cam`` (3, 4): the hand-eye transform of a file, which the poses of the path already have.
    """

    path: CameraPath
    unit: str
    notes: tuple[Note, ...] = ()
    sensor_from_cam: FloatArray = field(default_factory=lambda: np.eye(3, 4))


def poses_inputs(settings: PosesConfig) -> list[Any]:
    """What a run depends on by measured poses; for a method's ``stage_inputs``."""
    if settings.file is None:
        return []
    path, unit = split_unit(settings.file)
    files = [path]
    if path.is_dir():
        names = ("motion.yaml", *MODEL_FILES)
        places = (path, path / "sparse" / "0", path / "sparse", path / "0")
        files = [place / name for place in places for name in names if (place / name).is_file()]
    hand_eye = Path(settings.hand_eye)
    files += [hand_eye] if settings.hand_eye not in HAND_EYE_WORDS else []
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    return [{"poses": [unit, settings.sigma, settings.hand_eye, settings.offset_s, settings.within_s, sums]}]


def open_given(settings: PosesConfig) -> GivenPath:
    """Read the measured poses that settings name, those of the camera where the hand-eye transform is a file.

    Raises:
        InputError: If they cannot be read, or hold no orientations.
    """
    assert settings.file is not None
    file, unit = split_unit(settings.file)
    if not file.exists():
        raise InputError(f"--poses {file}: not found; expected a TUM file, a table (.csv) or a COLMAP model")
    path = read_camera_path(file)
    if not path.has_rotations:
        raise InputError(
            f"--poses {file}: positions without orientations; expected both (qx qy qz qw). For the scale alone: "
            "dd-sfm convert --scale tum:FILE"
        )
    notes = [Note(NoteCode.KNOWN_POSES, text) for text in path.notes]
    is_arbitrary = path.kind in ("names", "numbers") and not (unit or path.unit) and _is_reconstruction(path)
    if not (unit or path.unit or is_arbitrary):
        extent = float(np.ptp(path.world_from_sensor[:, :, 3], axis=0).max())
        text = (
            f"{file.name}: read as metres, as no unit was given, so that its path extends over "
            f"{UNITS['m'] * extent:.3g} mm; FILE@mm and FILE@cm are the others"
        )
        notes.append(Note(NoteCode.KNOWN_POSES, text))
    factor = 1.0 if is_arbitrary else UNITS[unit or path.unit or "m"]
    world = path.world_from_sensor.copy()
    world[:, :, 3] *= factor
    sensor = np.eye(3, 4)
    if settings.hand_eye not in HAND_EYE_WORDS:
        sensor = _sensor_from_camera(Path(settings.hand_eye))
    path = replace(path, world_from_sensor=compose(world, sensor))
    return GivenPath(path, "" if is_arbitrary else "mm", tuple(notes), sensor)


def hand_eye_figures(sensor_from_cam: FloatArray) -> dict[str, Any]:
    """A hand-eye transform (3, 4) for ``metrics.json``."""
    turned = Rotation.from_matrix(sensor_from_cam[:, :3]).magnitude()
    return {
        "hand_eye_mm": round(float(np.linalg.norm(sensor_from_cam[:, 3])), 3),
        "hand_eye_deg": round(float(np.degrees(turned)), 3),
        "sensor_from_camera": np.vstack([sensor_from_cam, [0, 0, 0, 1]]).round(6).tolist(),
    }


def _is_reconstruction(path: CameraPath) -> bool:
    return path.is_of_run or path.path.is_dir() or path.path.name in MODEL_FILES


def _sensor_from_camera(path: Path) -> FloatArray:
    """The camera's pose (3, 4) in the sensor's axes, in mm.

    Raises:
        InputError: If it is none.
    """
    if not path.is_file():
        raise InputError(f"--hand-eye {path}: no transform: neither a file nor one of {', '.join(HAND_EYE_WORDS)}")
    matrix = read_transform(path)
    if not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3) or np.linalg.det(matrix[:3, :3]) < 0:
        raise InputError(f"--hand-eye {path}: no rotation and shift; expected the camera's pose in the sensor, mm")
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    return np.column_stack([u @ vt, matrix[:3, 3]])


def frame_keys(records: Sequence[FrameRecord]) -> FrameKeys:
    """What the frames of a run may be known by; of several sources, each with times of its own, not by times."""
    numbers = np.array([record.index for record in records], np.float64)
    has_times = len({record.label for record in records}) < 2
    known = [record.time_s if has_times else None for record in records]
    times = np.array([np.nan if second is None else second for second in known], np.float64)
    names = tuple(_called(record) for record in records)
    return FrameKeys(numbers, times, names)


def _called(record: FrameRecord) -> tuple[str, ...]:
    stem = PurePosixPath(record.source).stem
    return (record.name, f"{record.label}/{stem}", stem) if record.label and stem else (record.name, stem)


def ways_to_read(given: GivenPath, keys: FrameKeys, offset: float, within: float) -> list[Reading]:
    """The ways to read a path by which enough frames have a pose.

    Raises:
        InputError: If there is none.
    """
    ways = readings(given.path, keys)
    found = [way for way in ways if _count(given.path, way, offset, within) >= LEAST_FRAMES]
    if found:
        return found
    what = {"names": "names of images", "numbers": "numbers of frames"}.get(given.path.kind, "times")
    span = "" if given.path.kind == "names" else f" ({describe_span(given.path.stamps)})"
    own = keys.numbers if given.path.kind in ("names", "numbers") else keys.times
    hint = "Give the path's time at the beginning of the video with --poses-offset"
    hint = "Is it the same video?" if given.path.kind in ("names", "numbers") else hint
    if not np.isfinite(own).any():
        hint = "Images of a folder have no times, and several sources each their own: give numbers of frames"
    raise InputError(
        f"{given.path.path}: fewer than {LEAST_FRAMES} of {len(keys.numbers)} frames ({describe_span(own)}) have a "
        f"pose by its {what}{span}; expected poses of the frames of this video. {hint}"
    )


def _count(path: CameraPath, way: Reading, offset: float, within: float) -> int:
    """How many frames have a pose, with the best of some offsets."""
    tried = [offset] if way.is_exact or not within else offset + within * np.linspace(-1, 1, 9)
    return max(
        int(near_stamps(path, way.wanted + (0 if way.is_exact else o), is_exact=way.is_exact).sum()) for o in tried
    )


def camera_poses(given: GivenPath, way: Reading, offset: float, sensor_from_cam: FloatArray) -> dict[int, FloatArray]:
    """Poses cam_from_world (3, 4) of the frames that have one, by position."""
    wanted = way.wanted + (0.0 if way.is_exact else offset)
    rows = np.flatnonzero(near_stamps(given.path, wanted, is_exact=way.is_exact))
    if not len(rows):
        return {}
    poses = inverse_pose(compose(poses_at(given.path, wanted[rows]), sensor_from_cam))
    return dict(zip(rows.tolist(), poses, strict=True))


@dataclass(frozen=True)
class Agreement:
    """How far the matches of frames agree with poses: of all, and of each frame by position, of those that could."""

    share: float
    by_frame: Mapping[int, float]


def agreement(tracks: Tracks, poses: Mapping[int, FloatArray], camera: PinholeCamera, scale: float) -> Agreement:
    """Compare given poses with all matches of their frames."""
    held_out = np.zeros(tracks.count, np.bool_)
    pairs = pair_supports(tracks, held_out, poses, camera, scale)
    by_frame = {k: _share([p for p in pairs if k in (p.first, p.second)]) for k in sorted(poses)}
    return Agreement(_share(pairs) or 0.0, {k: share for k, share in by_frame.items() if share is not None})


def _share(pairs: Sequence[PairSupport]) -> float | None:
    weights = np.array([min(pair.best, MOST_COUNTED) for pair in pairs], np.float64)
    if not len(weights):
        return None
    return float((weights * [pair.agreeing / pair.best for pair in pairs]).sum() / weights.sum())


def check_agreement(given: GivenPath, found: Agreement) -> None:
    """Refuse poses that the images contradict.

    Raises:
        InputError: If they are those of another clip, or far from exact.
    """
    if found.share < LEAST_AGREEING:
        raise InputError(
            f"{given.path.path}: its poses agree with {100 * found.share:.0f} % of the matches between frames; "
            f"expected {100 * LEAST_AGREEING:.0f} % or more of poses that are taken as exact. Is it the path of this "
            "video, and of the camera? If it is that of a sensor on it, or has errors, say how large they are with "
            "--poses-sigma MM,DEG"
        )


def agreement_notes(given: GivenPath, found: Agreement, frames: FrameSet) -> list[Note]:
    """Where images contradict poses that are taken as exact."""
    notes = []
    name = given.path.path.name
    usual = float(np.median(list(found.by_frame.values()))) if found.by_frame else 0.0
    if usual < EXACT_AGREEING:
        text = (
            f"the poses of {name} agree with {100 * usual:.0f} % of the matches of a frame (median); exact ones do "
            f"with {100 * EXACT_AGREEING:.0f} % and more. They were kept; --poses-sigma MM,DEG lets images mend them"
        )
        notes.append(Note(NoteCode.KNOWN_POSES_DISAGREE, text))
    off = [k for k, share in found.by_frame.items() if share < NAMED_SHARE * usual]
    if off:
        text = f"images contradict the poses of {name} in {len(off)} of {len(found.by_frame)} frames: "
        notes.append(Note(NoteCode.KNOWN_POSES_DISAGREE, text + frame_names(off, frames)))
    return notes


def check_poses_settings(config: Config) -> None:
    """Find out before any work whether measured poses can be used.

    Raises:
        ConfigError, InputError: If they cannot.
    """
    settings = config.poses
    if settings.file is None:
        if settings.sigma is not None or settings.hand_eye != "auto" or settings.within_s is not None:
            raise ConfigError("--poses-sigma, --hand-eye or --poses-offset without --poses; expected poses they are of")
        return
    if config.features != "learned":
        raise ConfigError(f"--poses with --features {config.features}; expected learned, whose poses can be given")
    open_given(settings)
