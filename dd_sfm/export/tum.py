"""The camera path as text of the TUM RGB-D benchmark, for evo; see :mod:`dd_sfm.io.tum`."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from dd_sfm.io.atomic import write_text
from dd_sfm.io.scene import Scene
from dd_sfm.io.tum import running_times, tum_text
from dd_sfm.progress import Progress

NAME = "trajectory.tum"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write trajectory.tum: time or frame number, camera centre and orientation of every image with a pose."""
    used = [scene.images[k] for k in scene.registered]
    times = {i.number: i.time_s for i in used if i.time_s is not None}
    poses = np.stack([scene.model.cam_from_world[k] for k in scene.registered])
    # Seconds or numbers, never both in one file.
    known = times if len(times) == len(used) else {}
    running = running_times(known, {i.number: i.source for i in used})
    write_text(folder / NAME, tum_text([i.number for i in used], poses, running))
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
