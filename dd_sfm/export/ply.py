"""The coloured cloud as PLY, as a run has it."""

from pathlib import Path
from typing import BinaryIO

from dd_sfm.errors import InputError
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.scene import Scene, scene_uncertainty
from dd_sfm.progress import Progress
from dd_sfm.sfm.point_cloud import to_cloud

NAME = "points.ply"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write points.ply: positions, colours, normals, errors, track lengths, expected errors where known."""
    uncertainty, notes = None, []
    try:
        uncertainty = scene_uncertainty(scene)
    except InputError as error:
        # All but the expected errors is in the model.
        notes.append(f"{error}; the cloud is made from the model and knows no uncertainty")
    comments = () if scene.metric is None else scene.metric.comments
    write_cloud(folder / NAME, to_cloud(scene.model, uncertainty), comments=comments)
    return notes


def is_one(file: BinaryIO) -> bool:
    """Whether an open file begins as a PLY does."""
    return file.readline(512).strip() == b"ply"
