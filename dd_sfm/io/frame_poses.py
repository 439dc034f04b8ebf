"""``frame_poses.json`` of a run: what mapping found of every frame that is used."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dd_sfm.documents import finite, read_json, whole
from dd_sfm.io.atomic import write_json
from dd_sfm.io.run_folder import readable

FRAME_POSES = "frame_poses.json"


@dataclass(frozen=True)
class FramePose:
    """What mapping found of a frame.

    ``frame``: the name of its files, without ending; ``model``: that has its pose, None for none, where ``reason`` says
    why; ``confidence``: how far the pose can be trusted, in [0, 1], None where that was not checked.
    """

    frame: str
    model: int | None
    confidence: float | None
    reason: str = ""


def write_frame_poses(run: Path, poses: Sequence[FramePose]) -> None:
    """Write ``frame_poses.json``.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(run / FRAME_POSES, [asdict(pose) for pose in poses])


def read_frame_poses(run: Path) -> list[FramePose]:
    """Read ``frame_poses.json``; empty without the file, as in runs of older versions.

    Raises:
        InputError: If the file is damaged.
    """
    path = run / FRAME_POSES
    if not path.is_file():
        return []
    with readable(path):
        return [_read_pose(entry) for entry in read_json(path)]


def _read_pose(entry: dict[str, Any]) -> FramePose:
    model, confidence = entry["model"], entry["confidence"]
    return FramePose(
        str(entry["frame"]),
        None if model is None else whole(model),
        None if confidence is None else finite(confidence),
        str(entry.get("reason", "")),
    )
