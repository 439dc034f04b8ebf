"""The coloured cloud as PLY, as a run has it."""

from pathlib import Path
from typing import BinaryIO

from dd_sfm.export.points import scene_points
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress

NAME = "points.ply"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write points.ply: positions, colours, normals, errors, track lengths, expected errors where known."""
    points = scene_points(scene)
    write_cloud(folder / NAME, points.cloud, comments=() if scene.metric is None else scene.metric.comments)
    return list(points.notes)


def is_one(file: BinaryIO) -> bool:
    """Whether an open file begins as a PLY does."""
    return file.readline(512).strip() == b"ply"
