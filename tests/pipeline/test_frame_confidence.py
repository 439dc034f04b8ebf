from dataclasses import replace

import numpy as np
from scene import CAMERA

from dd_sfm.io.run_folder import ExtractedFrames, read_frames, read_poses, write_frames, write_poses
from dd_sfm.pipeline.frame_confidence import confidence_figures, with_poses
from dd_sfm.structures import DropReason, FrameRecord, MapResult, VerifiedPairs

RECORDS = (
    FrameRecord(0, 0.0, 1.0),
    FrameRecord(4, 0.1, 1.0, DropReason.BLURRED, "blurred: .1"),
    FrameRecord(8, 0.2, 1.0),
    FrameRecord(12, 0.3, 1.0),
    FrameRecord(16, 0.4, 1.0),
)
FRAMES = ExtractedFrames("clip.mp4", 960, 720, 25.0, 20, CAMERA, None, 700, "png", RECORDS)
POSE = np.eye(3, 4)
FOUND = MapResult(
    [{0: POSE, 1: POSE}, {3: POSE}],
    [CAMERA, CAMERA],
    "global",
    VerifiedPairs(3, 2, 50),
    {},
    confidence=[{0: 0.9, 1: 0.95}, {3: 0.8}],
    left_out={2: "contradicted"},
)


def test_frames_have_the_model_and_the_confidence_of_their_poses_or_why_not(tmp_path):
    write_frames(tmp_path, with_poses(FRAMES, FOUND))
    records = read_frames(tmp_path).records
    assert [r.model for r in records] == [0, None, 0, None, 1]
    assert [r.confidence for r in records] == [0.9, None, 0.95, None, 0.8]
    assert [r.detail for r in records] == ["", "blurred: .1", "", "contradicted", ""]
    figures = confidence_figures([r for r in records if r.kept])
    assert figures["pose_confidence"] == {"00000000": 0.9, "00000008": 0.95, "00000016": 0.8}
    assert figures["pose_confidence_least"] == 0.8
    assert figures["pose_confidence_median"] == 0.9
    assert figures["frames_without_pose"] == {"00000012": "contradicted"}


def test_another_mapping_replaces_what_the_one_before_said():
    again = with_poses(with_poses(FRAMES, FOUND), replace(FOUND, models=[{2: POSE}], confidence=[], left_out={}))
    assert [r.model for r in again.records] == [None, None, None, 0, None]
    assert [r.confidence for r in again.records] == [None] * 5
    assert [r.detail for r in again.records] == [
        "not registered",
        "blurred: .1",
        "not registered",
        "",
        "not registered",
    ]


def test_what_was_found_of_frames_is_kept_with_the_poses(tmp_path):
    write_poses(tmp_path, FOUND)
    found = read_poses(tmp_path)
    assert found.confidence == FOUND.confidence
    assert found.left_out == FOUND.left_out
