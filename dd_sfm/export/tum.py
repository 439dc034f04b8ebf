"""The camera path as text of the TUM RGB-D benchmark, for evo; see :mod:`dd_sfm.io.tum`."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_text
from dd_sfm.io.run_folder import read_frames
from dd_sfm.io.scene import Scene, in_factor
from dd_sfm.io.trajectory import TRAJECTORY, located_poses
from dd_sfm.io.tum import running_times, tum_text
from dd_sfm.progress import Progress
from dd_sfm.structures import FloatArray

NAME = "trajectory.tum"


@dataclass(frozen=True)
class _Posed:
    number: int
    time_s: float | None
    source: str
    cam_from_world: FloatArray


def _of_run(scene: Scene) -> list[_Posed]:
    """All frames of a run's model with a pose; none where the model has them all, or is of no run."""
    found = located_poses(scene.run, scene.model_folder)
    if scene.run is None or not found:
        return []
    records = {record.index: record for record in read_frames(scene.run).records}
    unknown = sorted(set(found) - set(records))
    if unknown:
        raise InputError(
            f"{scene.run / TRAJECTORY}: frame {unknown[0]}, which the run does not have; expected frames of "
            "frames.json. Repeat the command that made the run"
        )
    return [
        _Posed(number, records[number].time_s, records[number].label, in_factor(pose, scene.factor))
        for number, pose in sorted(found.items())
    ]


def _posed(scene: Scene) -> list[_Posed]:
    return _of_run(scene) or [
        _Posed(i.number, i.time_s, i.source, scene.model.cam_from_world[k])
        for k, i in enumerate(scene.images)
        if k in scene.model.cam_from_world
    ]


def count_poses(scene: Scene) -> int:
    """How many frames :func:`write` writes: those between key frames of a run are more than its model has."""
    return len(_posed(scene))


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write trajectory.tum: time or frame number, camera centre and orientation of every frame with a pose.

    Of a run that has key frames those between them are among them.
    """
    used = _posed(scene)
    times = {i.number: i.time_s for i in used if i.time_s is not None}
    # Seconds or numbers, never both in one file.
    known = times if len(times) == len(used) else {}
    running = running_times(known, {i.number: i.source for i in used})
    poses = np.stack([i.cam_from_world for i in used])
    comments = () if scene.metric is None else scene.metric.comments
    write_text(folder / NAME, tum_text([i.number for i in used], poses, running, comments))
    notes = [] if known else ["the time of every pose is its frame number"]
    if running != known:
        notes.append("the times of each further source follow those of the one before")
    return notes


def is_one(file: BinaryIO) -> bool:
    """Whether the first line but for comments has a time, a centre and an orientation: eight numbers."""
    while line := file.readline(4096):
        words = line.split()
        if words and not line.startswith(b"#"):
            try:
                return len([float(word) for word in words]) == 8
            except ValueError:
                return False
    return False
