"""A measured camera path as the reference of a model: TUM, or a table."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dd_sfm.cameras import inverse_pose
from dd_sfm.errors import InputError
from dd_sfm.io.camera_paths import UNITS, CameraPath, read_camera_path, split_unit
from dd_sfm.sfm.path_matching import FrameKeys, near_stamps, poses_at, readings
from dd_sfm.structures import FloatArray

OWN_UNIT = "units of the file"


def path_reference(text: Path, time_s: Mapping[int, float] | None) -> tuple[dict[int, FloatArray], str]:
    """Poses cam_from_world (3, 4) by frame number, and their unit.

    Args:
        text: The file, with @mm, @cm or @m behind it where its unit is known.
        time_s: Time of each frame of the model in seconds; None where these are not known: frames then have to be
            known by their numbers.

    Raises:
        InputError: If the file cannot be read, has no orientations, or no pose of a frame.
    """
    file, unit = split_unit(str(text))
    path = read_camera_path(file)
    if not path.has_rotations:
        raise InputError(f"--reference {file}: positions without orientations; expected time x y z qx qy qz qw")
    unit = unit or path.unit
    world = path.world_from_sensor.copy()
    world[:, :, 3] *= UNITS[unit] if unit else 1.0
    found = _by_number(path, world, time_s)
    if not found:
        raise InputError(
            f"--reference {file}: no pose of a frame of the model by its time or number; expected seconds of the "
            "video, or numbers of its frames"
        )
    return found, "mm" if unit else OWN_UNIT


def _by_number(path: CameraPath, world: FloatArray, time_s: Mapping[int, float] | None) -> dict[int, FloatArray]:
    stamps = path.stamps
    if path.kind != "times" and (stamps == np.round(stamps)).all():
        return dict(zip(stamps.astype(int).tolist(), inverse_pose(world), strict=True))
    if not time_s:
        raise InputError(
            f"--reference {path.path}: known by seconds, and of these frames no times are; expected numbers of frames"
        )
    numbers = sorted(time_s)
    keys = FrameKeys(np.array(numbers, np.float64), np.array([time_s[k] for k in numbers], np.float64))
    for way in readings(path, keys):
        near = near_stamps(path, way.wanted, is_exact=way.is_exact)
        moved = CameraPath(path.path, stamps, world, path.kind)
        poses = inverse_pose(poses_at(moved, way.wanted[near])) if near.any() else np.zeros((0, 3, 4))
        return dict(zip(np.array(numbers)[near].tolist(), poses, strict=True))
    return {}
