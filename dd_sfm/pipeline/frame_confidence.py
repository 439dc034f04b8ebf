"""What became of every frame in mapping: the model that has it, how far its pose can be trusted, or why it has none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dd_sfm.io.run_folder import ExtractedFrames
from dd_sfm.structures import FrameRecord, MapResult

NOT_REGISTERED = "not registered"


def with_poses(frames: ExtractedFrames, found: MapResult) -> ExtractedFrames:
    """The frames of a run with what mapping found of those that are used."""
    position = 0
    records = []
    for record in frames.records:
        records.append(_with_pose(record, position, found) if record.kept else record)
        position += record.kept
    return replace(frames, records=tuple(records))


def _with_pose(record: FrameRecord, position: int, found: MapResult) -> FrameRecord:
    model = next((number for number, poses in enumerate(found.models) if position in poses), None)
    if model is None:
        return replace(record, model=None, confidence=None, detail=found.left_out.get(position, NOT_REGISTERED))
    confidence = found.confidence[model].get(position) if found.confidence else None
    return replace(record, model=model, confidence=confidence, detail="")


def confidence_figures(records: Sequence[FrameRecord]) -> dict[str, Any]:
    """How far poses can be trusted, by the names of frames, in the median and at least; and why others have none.

    Args:
        records: Those of the frames that are used.
    """
    known = {record.name: record.confidence for record in records if record.confidence is not None}
    ordered = sorted(known.values())
    return {
        "pose_confidence_median": ordered[len(ordered) // 2] if ordered else None,
        "pose_confidence_least": ordered[0] if ordered else None,
        "pose_confidence": known,
        "frames_without_pose": {record.name: record.detail for record in records if record.model is None},
    }
