"""What stages leave for the next one."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scene import CAMERA

from dd_sfm.errors import InputError
from dd_sfm.io.run_folder import (
    ExtractedFrames,
    load_frames,
    read_frames,
    read_matches,
    read_poses,
    write_frames,
    write_matches,
    write_poses,
)
from dd_sfm.notes import Note, NoteCode
from dd_sfm.structures import DropReason, FrameRecord, MapResult, MatchResult, Tracks, VerifiedPairs


def test_the_mapper_of_an_earlier_versions_run_is_read(tmp_path):
    poses = [{0: np.eye(3, 4), 1: np.eye(3, 4)}]
    write_poses(tmp_path, MapResult(poses, [CAMERA], "relaxed", VerifiedPairs(3, 2, 50), {"verify": 0.5}))
    assert read_poses(tmp_path).mapper == "relaxed"
    path = tmp_path / "map.json"
    path.write_text(json.dumps({k.replace("mapper", "rung"): v for k, v in json.loads(path.read_text()).items()}))
    assert read_poses(tmp_path).mapper == "relaxed"


def test_the_notes_of_an_earlier_versions_run_keep_what_they_are_about():
    texts = {
        "no calibration: focal length 700 px from a guess of 711 px": NoteCode.NO_CALIBRATION,
        "calibration: the principal point (140, 70) lies 50 %": NoteCode.CALIBRATION_CENTRE,
        "calibration: a focal length of 900 px means a field of view of 10 degrees": NoteCode.CALIBRATION_FIELD_OF_VIEW,
        "calibration: the focal length is 900 px, the matches would have 450 px": NoteCode.CALIBRATION_FOCAL_LENGTH,
        "2 of 14 frames left out as blurred": NoteCode.UNKNOWN,
    }
    for text, code in texts.items():
        note = Note.from_json(text)
        assert (note.code, note.text) == (code, text)
        assert note.code.doubts_camera == ("calibration:" in text)
        assert Note.from_json(note.as_json()) == note
    assert Note.from_json({"code": "of a later version", "text": "x"}) == Note(NoteCode.UNKNOWN, "x")


def test_the_frames_of_an_earlier_versions_run_are_read(tmp_path):
    reasons = ("", "blurred: sharpness 0.1, neighbours 0.4", "no motion: 0.1 working px", "thinned to --max-frames")
    records = [
        {"index": k, "time_s": k / 25, "sharpness": 1.0, "kept": not reason, "reason": reason}
        for k, reason in enumerate(reasons)
    ]
    content = {
        "source": "clip.mp4", "width": 160, "height": 120, "fps": 25.0, "camera": asdict(CAMERA), "undistorted": None,
        "field_of_view_px": 100, "notes": ["1 of 4 frames left out as blurred"], "frames": records,
    }  # fmt: skip
    (tmp_path / "frames.json").write_text(json.dumps(content))
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "00000000.jpg").touch()
    frames = read_frames(tmp_path)
    dropped = [None, DropReason.BLURRED, DropReason.NO_MOTION, DropReason.THINNED]
    assert [record.dropped for record in frames.records] == dropped
    assert frames.frames_in_source == 4
    assert frames.suffix == "jpg"
    assert frames.notes == (Note(NoteCode.UNKNOWN, "1 of 4 frames left out as blurred"),)
    assert [frame.path.name for frame in load_frames(tmp_path).frames] == ["00000000.jpg"]
    write_frames(tmp_path, frames)
    assert read_frames(tmp_path) == frames


@pytest.mark.parametrize("content", ["[]", "{", '{"frames": [{"index": 0}]}'])
def test_damaged_frames_are_one_clear_line(tmp_path, content):
    (tmp_path / "frames.json").write_text(content)
    with pytest.raises(InputError, match=r"frames\.json: damaged .*; expected what dd-sfm reconstruct writes"):
        read_frames(tmp_path)


def test_poses_and_tracks_of_frames_that_are_not_there_are_told(tmp_path):
    records = (FrameRecord(0, 0.0, 1.0), FrameRecord(1, 0.04, 1.0, DropReason.BLURRED, "blurred"))
    write_frames(tmp_path, ExtractedFrames("clip.mp4", 160, 120, 25.0, 2, CAMERA, None, 100, "png", records))
    write_poses(tmp_path, MapResult([{1: np.eye(3, 4)}], [CAMERA], "global", VerifiedPairs(1, 1, 50), {}))
    with pytest.raises(InputError, match=r"map\.json: damaged \(frame 1, counted from 0, of 1\)"):
        read_poses(tmp_path)
    two = np.zeros(2, np.int64)
    tracks = Tracks(two, np.arange(2), np.zeros((2, 2), np.float32), np.ones(2, np.float32), np.zeros(2, bool))
    write_matches(tmp_path, MatchResult(tracks, []))
    with pytest.raises(InputError, match=r"tracks\.npz: damaged \(frame 1"):
        read_matches(tmp_path)
