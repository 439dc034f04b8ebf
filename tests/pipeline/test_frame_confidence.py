import json
from dataclasses import replace

import numpy as np
from scene import CAMERA

from dd_sfm.io.frame_poses import write_frame_poses
from dd_sfm.io.run_folder import read_poses, write_poses
from dd_sfm.pipeline.frame_confidence import confidence_figures, frame_poses
from dd_sfm.structures import FrameRecord, MapResult, VerifiedPairs

KEPT = (
    FrameRecord(0, 0.0, 1.0),
    FrameRecord(8, 0.2, 1.0),
    FrameRecord(12, 0.3, 1.0),
    FrameRecord(16, 0.4, 1.0),
)
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
    found = frame_poses(KEPT, FOUND)
    write_frame_poses(tmp_path, found)
    assert json.loads((tmp_path / "frame_poses.json").read_text()) == [
        {"frame": "00000000", "model": 0, "confidence": 0.9, "reason": ""},
        {"frame": "00000008", "model": 0, "confidence": 0.95, "reason": ""},
        {"frame": "00000012", "model": None, "confidence": None, "reason": "contradicted"},
        {"frame": "00000016", "model": 1, "confidence": 0.8, "reason": ""},
    ]
    figures = confidence_figures(found)
    assert figures["pose_confidence"] == {"00000000": 0.9, "00000008": 0.95, "00000016": 0.8}
    assert figures["pose_confidence_least"] == 0.8
    assert figures["pose_confidence_median"] == 0.9
    assert figures["frames_without_pose"] == {"00000012": "contradicted"}


def test_poses_that_were_not_checked_have_no_confidence():
    found = frame_poses(KEPT, replace(FOUND, models=[{2: POSE}], confidence=[], left_out={}))
    assert [pose.model for pose in found] == [None, None, 0, None]
    assert [pose.confidence for pose in found] == [None] * 4
    assert [pose.reason for pose in found] == ["not registered", "not registered", "", "not registered"]


def test_what_was_found_of_frames_is_kept_with_the_poses(tmp_path):
    write_poses(tmp_path, FOUND)
    found = read_poses(tmp_path)
    assert found.confidence == FOUND.confidence
    assert found.left_out == FOUND.left_out
