"""``frame_poses.json`` of a run: what mapping found of every frame that is used."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dd_sfm.io.atomic import write_json

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
