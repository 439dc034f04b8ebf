"""What became of every frame in mapping: the model that has it, how far its pose can be trusted, or why it has none."""

from collections.abc import Sequence
from typing import Any

from dd_sfm.io.frame_poses import FramePose
from dd_sfm.structures import FrameRecord, MapResult

NOT_REGISTERED = "not registered"


def frame_poses(kept: Sequence[FrameRecord], found: MapResult) -> list[FramePose]:
    """What mapping found of each frame.

    Args:
        kept: The frames that are used, in the order of their positions.
        found: The poses.
    """
    return [_frame_pose(record.name, position, found) for position, record in enumerate(kept)]


def _frame_pose(name: str, position: int, found: MapResult) -> FramePose:
    model = next((number for number, poses in enumerate(found.models) if position in poses), None)
    if model is None:
        return FramePose(name, None, None, found.left_out.get(position, NOT_REGISTERED))
    return FramePose(name, model, found.confidence[model].get(position) if found.confidence else None)


def confidence_figures(poses: Sequence[FramePose]) -> dict[str, Any]:
    """How far poses can be trusted, by the names of frames, in the median and at least; and why others have none."""
    known = {pose.frame: pose.confidence for pose in poses if pose.confidence is not None}
    ordered = sorted(known.values())
    return {
        "pose_confidence_median": ordered[len(ordered) // 2] if ordered else None,
        "pose_confidence_least": ordered[0] if ordered else None,
        "pose_confidence": known,
        "frames_without_pose": {pose.frame: pose.reason for pose in poses if pose.model is None},
    }
