"""Which poses of a measured path belong to which frames: by time, by the frame's number, or by the image's name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from dd_sfm.io.camera_paths import CameraPath
from dd_sfm.structures import FloatArray

Key = TypeVar("Key", str, int)
SECONDS, NUMBERS, NAMES = "by seconds", "by numbers of frames", "by names of images"
LARGEST_GAP = 2.5
"""Poses are interpolated between neighbours in time that are at most so many usual steps apart."""


@dataclass(frozen=True)
class FrameKeys:
    """What frames may be known by.

    ``numbers`` (F,); ``times`` (F,) in seconds, NaN where none is known; ``names``: of each frame what its image may be
    called, without ending, and without folder or with that of its source.
    """

    numbers: FloatArray
    times: FloatArray
    names: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Reading:
    """One way to read a path.

    ``by``: :data:`SECONDS`, :data:`NUMBERS` or :data:`NAMES`; ``wanted`` (F,): the stamp of each frame, NaN where it
    has none; ``is_exact``: whether a frame has the pose of its own stamp, else one between its neighbours'.
    """

    by: str
    wanted: FloatArray
    is_exact: bool


def readings(path: CameraPath, keys: FrameKeys) -> list[Reading]:
    """All ways in which a path may be meant; whole numbers may be seconds or numbers of frames."""
    if path.kind == "names":
        return _by_names(path, keys)
    stamps = path.stamps
    by_number = Reading(NUMBERS, keys.numbers, is_exact=True)
    if path.kind == "numbers":
        from_first = Reading(f"{NUMBERS} from {path.first}", keys.numbers + path.first, is_exact=True)
        return [by_number, from_first] if path.first else [by_number]
    known = np.isfinite(keys.times)
    ways = [Reading(SECONDS, keys.times, is_exact=False)] if len(stamps) > 1 and known.any() else []
    if path.kind == "times":
        return ways
    if (stamps == np.round(stamps)).all():
        ways.append(by_number)
    elif len(stamps) > 1 and not known.any():
        ways.append(Reading(NUMBERS, keys.numbers, is_exact=False))
    return ways


def _by_names(path: CameraPath, keys: FrameKeys) -> list[Reading]:
    """By the names of images as a run or its source has them, else by the last number in each, from 0 or from 1."""
    place = _unambiguous((called, k) for k, name in enumerate(path.names) for called in _called(name))
    frame = _unambiguous((called, k) for k, names in enumerate(keys.names) for called in names)
    own = [next((place[name] for name in names if name in place and name in frame), None) for names in keys.names]
    if sum(k is not None for k in own) * 2 > len(own):
        wanted = np.array([np.nan if k is None else k for k in own], np.float64)
        return [Reading(NAMES, wanted, is_exact=True)]
    numbers = ((_last_number(name), k) for k, name in enumerate(path.names))
    by_number = _unambiguous((number, k) for number, k in numbers if number is not None)
    found = []
    for first, by in ((0, NAMES), (1, f"{NAMES}, counted from one")):
        wanted = np.array([by_number.get(int(number) + first, np.nan) for number in keys.numbers], np.float64)
        found.append(Reading(by, wanted, is_exact=True))
    return found if by_number and min(by_number) == 1 else found[:1]


def _called(name: str) -> list[str]:
    """What an image may be called: without ending, and with all, some or none of the folders."""
    path = PurePosixPath(name)
    parts = (path.parent / path.stem).parts
    return ["/".join(parts[k:]) for k in range(len(parts))]


def _unambiguous(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """What is known by one key alone."""
    found: dict[Key, set[int]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(value)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1}


def _last_number(name: str) -> int | None:
    digits = "".join(c if c.isdigit() else " " for c in PurePosixPath(name).stem).split()
    return int(digits[-1]) if digits and len(digits[-1]) < 16 else None


def near_stamps(path: CameraPath, wanted: FloatArray, *, is_exact: bool) -> NDArray[np.bool_]:
    """Which wanted stamps (F,) have a pose, or unless exact lie between near neighbours that have."""
    stamps = path.stamps
    if is_exact:
        return np.isin(wanted, stamps)
    if len(stamps) < 2:
        return np.zeros(len(wanted), np.bool_)
    after = np.clip(np.searchsorted(stamps, wanted), 1, len(stamps) - 1)
    step = float(np.median(np.diff(stamps)))
    inside = (wanted >= stamps[0] - 1e-6) & (wanted <= stamps[-1] + 1e-6)
    return np.asarray(inside & (stamps[after] - stamps[after - 1] <= LARGEST_GAP * step))


def positions_at(path: CameraPath, wanted: FloatArray) -> FloatArray:
    """Positions (N, 3) at stamps (N,), interpolated between neighbours."""
    return np.column_stack([np.interp(wanted, path.stamps, column) for column in path.centres.T])


def poses_at(path: CameraPath, wanted: FloatArray) -> FloatArray:
    """Poses world_from_sensor (N, 3, 4) at stamps (N,), interpolated between neighbours."""
    if len(path.stamps) < 2:
        return np.repeat(path.world_from_sensor, len(wanted), 0)
    turned = Slerp(path.stamps, Rotation.from_matrix(path.world_from_sensor[:, :, :3]))
    inside = np.clip(wanted, path.stamps[0], path.stamps[-1])
    return np.concatenate([turned(inside).as_matrix(), positions_at(path, wanted)[:, :, None]], -1)


def describe_span(stamps: Sequence[float] | FloatArray) -> str:
    """From where to where stamps go, for a message."""
    known = np.asarray(stamps)[np.isfinite(stamps)]
    return f"{known.min():.6g} to {known.max():.6g}" if len(known) else "none"
