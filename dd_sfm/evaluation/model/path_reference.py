"""A measured camera path as the reference of a model: TUM, or a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dd_sfm.cameras import camera_centres, inverse_pose
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_points
from dd_sfm.evaluation.model.frame_numbering import MIN_FRAMES_TO_FIT
from dd_sfm.io.camera_paths import CameraPath, read_camera_path, split_unit
from dd_sfm.io.metric import UNITS
from dd_sfm.io.scene import last_number
from dd_sfm.sfm.path_matching import near_stamps, poses_at
from dd_sfm.structures import FloatArray

OWN_UNIT = "units of the file"
CLEARLY, LEAST_MISFIT = 5.0, 1e-3
"""Of two readings of a file one is meant whose misfit, at least the second, is so many times smaller..."""
CLEARLY_MORE = 3.0
"""...or, where the fit does not tell, that which gives poses to so many times more of frames and file."""
UNKNOWN = 1.0
"""A misfit that says nothing."""


def path_reference(
    text: Path, time_s: Mapping[int, float] | None, model: Mapping[int, FloatArray] | None = None
) -> tuple[dict[int, FloatArray], str]:
    """Poses cam_from_world (3, 4) by frame number, and their unit.

    Args:
        text: The file, with @mm, @cm or @m behind it where its unit is known.
        time_s: Time of each frame of the model in seconds; None where these are not known: frames then have to be
            known by their numbers.
        model: Its poses cam_from_world (3, 4) by frame, which tell seconds and numbers of frames apart.

    Raises:
        InputError: If the file cannot be read, has no orientations, no pose of a frame, or two meanings.
    """
    file, unit = split_unit(str(text))
    path = read_camera_path(file)
    if not path.has_rotations:
        raise InputError(f"--reference {file}: positions without orientations; expected time x y z qx qy qz qw")
    unit = unit or path.unit
    world = path.world_from_sensor.copy()
    world[:, :, 3] *= UNITS[unit] if unit else 1.0
    found = _by_frame(replace(path, world_from_sensor=world), time_s, model or {})
    if not found:
        raise InputError(
            f"--reference {file}: no pose of a frame of the model by its time or number; expected seconds of the "
            "video, or numbers of its frames"
        )
    return found, "mm" if unit else OWN_UNIT


def _by_frame(
    path: CameraPath, time_s: Mapping[int, float] | None, model: Mapping[int, FloatArray]
) -> dict[int, FloatArray]:
    """Poses cam_from_world (3, 4) by frame: by the number in the image's name, the frame's number, or its time."""
    if path.kind == "names":
        return _by_name(path)
    whole = np.flatnonzero(path.stamps == np.round(path.stamps)) if path.kind != "times" else np.zeros(0, np.int64)
    is_counted = len(whole) == len(path.stamps) or path.kind == "numbers"
    poses = inverse_pose(path.world_from_sensor[whole])
    by_number = dict(zip(path.stamps[whole].astype(int).tolist(), poses, strict=True)) if is_counted else {}
    if path.kind == "numbers" or (is_counted and not time_s):
        return by_number
    if not time_s:
        raise InputError(
            f"--reference {path.path}: known by seconds, and of these frames no times are; expected numbers of frames"
        )
    by_time = _by_time(path, time_s)
    if not (by_number and by_time):
        return by_number or by_time
    numbers, times = np.array(list(time_s)), np.array(list(time_s.values()))
    held = [
        np.isin(path.stamps, numbers).mean() * np.isin(numbers, path.stamps).mean(),
        ((path.stamps >= times.min()) & (path.stamps <= times.max())).mean() * len(by_time) / len(numbers),
    ]
    return (by_number, by_time)[_meant(path, model, (by_number, by_time), held)]


def _meant(
    path: CameraPath, model: Mapping[int, FloatArray], found: Sequence[Mapping[int, FloatArray]], held: Sequence[float]
) -> int:
    """Which of two readings is meant: that which fits the model's cameras clearly better, or has clearly more of them.

    Raises:
        InputError: If neither tells.
    """
    errors = [_misfit(model, poses) for poses in found]
    for figures, factor in ((errors, CLEARLY), ([1 / max(share, 1e-6) for share in held], CLEARLY_MORE)):
        if min(figures) * factor < max(figures):
            return int(np.argmin(figures))
    raise InputError(
        f"--reference {path.path}: its whole numbers fit the cameras as numbers of frames and as seconds; expected "
        "seconds with a fraction, or numbers of all frames. Add a millisecond to seconds"
    )


def _misfit(model: Mapping[int, FloatArray], poses: Mapping[int, FloatArray]) -> float:
    """Median distance of aligned cameras from their reference, relative to its extent; large where too few have one."""
    both = sorted(model.keys() & poses.keys())
    if len(both) < MIN_FRAMES_TO_FIT:
        return UNKNOWN
    ours, theirs = (camera_centres(np.stack([some[k] for k in both])) for some in (model, poses))
    spread = float(np.sqrt(np.square(theirs - theirs.mean(0)).sum(1).mean()))
    error = float(np.median(align_points(ours, theirs)[1]))
    return UNKNOWN if spread == 0 else min(UNKNOWN, max(error / spread, LEAST_MISFIT))


def _by_name(path: CameraPath) -> dict[int, FloatArray]:
    """By the last number in each name, as the images of a COLMAP model are known.

    Raises:
        InputError: If one has none, or two have the same.
    """
    found: dict[int, FloatArray] = {}
    for name, pose in zip(path.names, inverse_pose(path.world_from_sensor), strict=True):
        number = last_number(name)
        if number is None or number in found:
            problem = "has no number" if number is None else f"is another of number {number}"
            raise InputError(
                f"--reference {path.path}: image '{name}' {problem}; expected names with the number of their frame"
            )
        found[number] = pose
    return found


def _by_time(path: CameraPath, time_s: Mapping[int, float]) -> dict[int, FloatArray]:
    """Interpolated at the time of each frame."""
    numbers, wanted = list(time_s), np.array(list(time_s.values()), np.float64)
    near = np.flatnonzero(near_stamps(path, wanted, is_exact=False))
    if not len(near):
        return {}
    poses = inverse_pose(poses_at(path, wanted[near]))
    return dict(zip([numbers[k] for k in near.tolist()], poses, strict=True))
