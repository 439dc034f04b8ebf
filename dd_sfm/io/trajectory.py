"""``trajectory.csv``: the poses of all frames of a run, those between its key frames too."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.documents import finite, regular, whole
from dd_sfm.io.atomic import write_text
from dd_sfm.io.run_folder import readable
from dd_sfm.structures import FloatArray, FrameRecord

TRAJECTORY = "trajectory.csv"
COLUMNS = ("frame", "time_s", "name", "model", "inliers", "qw", "qx", "qy", "qz", "tx", "ty", "tz")


@dataclass(frozen=True)
class FramePose:
    """Where a frame was taken from.

    ``cam_from_world`` (3, 4) float64 = [R | t] in the world of a model, by its number; ``inliers``: points that agree
    with a pose that was found against the finished model, None for one of the model's own.
    """

    record: FrameRecord
    model: int
    cam_from_world: FloatArray
    inliers: int | None = None


def write_trajectory(run: Path, poses: Iterable[FramePose]) -> None:
    """Write the poses: quaternion and translation of cam_from_world, as COLMAP's images.txt has them.

    Raises:
        OutputError: If the file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for pose in poses:
        record, inliers = pose.record, "" if pose.inliers is None else pose.inliers
        x, y, z, w = Rotation.from_matrix(pose.cam_from_world[:, :3]).as_quat(canonical=True)
        numbers = (f"{value:.9g}" for value in (w, x, y, z, *pose.cam_from_world[:, 3]))
        rows.writerow((record.index, record.time_s, record.name, pose.model, inliers, *numbers))
    write_text(run / TRAJECTORY, text.getvalue())


def model_number(folder: Path) -> int:
    """The number of the model of a run in a folder; -1 for one that has none."""
    return int(folder.name) if folder.parent.name == "sparse" and folder.name.isdecimal() else -1


def located_poses(run: Path | None, model_folder: Path | None) -> dict[int, FloatArray]:
    """Poses (3, 4) of all frames of a run's model by frame number; empty without key frames, or without a run."""
    if run is None or model_folder is None:
        return {}
    return read_trajectory(run).get(model_number(model_folder), {})


def read_trajectory(run: Path) -> dict[int, dict[int, FloatArray]]:
    """Poses cam_from_world (3, 4) by model, and by the number of the frame; empty without the file.

    Raises:
        InputError: If the file is damaged.
    """
    path = run / TRAJECTORY
    found: dict[int, dict[int, FloatArray]] = {}
    if not path.is_file():
        return found
    with readable(path), regular(path).open(newline="") as file:
        for row in csv.DictReader(file):
            quaternion = [float(row[name]) for name in ("qx", "qy", "qz", "qw")]
            if not 0.9 < np.linalg.norm(quaternion) < 1.1:
                raise ValueError(f"a quaternion of the length {np.linalg.norm(quaternion):g}")
            turned = Rotation.from_quat(quaternion).as_matrix()
            moved = [finite(float(row[name])) for name in ("tx", "ty", "tz")]
            found.setdefault(int(row["model"]), {})[whole(int(row["frame"]))] = np.column_stack([turned, moved])
    return found
