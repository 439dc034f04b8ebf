"""The camera of a run without a calibration."""

import json

import numpy as np
import pytest
from conftest import moving_frames, write_video

from dd_sfm.config import CameraConfig, Config, load_config
from dd_sfm.io.run_folder import read_frames
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline import camera_estimate
from dd_sfm.pipeline.camera_estimate import key_stretches, stretches
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.stage_summary import camera_line
from dd_sfm.progress import silent
from dd_sfm.sfm.eucm import lens_vector
from dd_sfm.sfm.lens_estimate import LensEstimate


def extract(source, out, *overrides, calibration=None, progress=silent):
    config = load_config(Config, None, list(overrides))
    return extract_frames(source, out, config, calibration=calibration, mask=None, progress=progress)


def said(run, lens="unknown"):
    """What a run says of its camera."""
    return camera_line(read_frames(run), CameraConfig(lens=lens))


def test_a_clip_too_short_to_tell_keeps_what_is_known_of_the_lens(tiny_clip, tmp_path):
    camera = extract(tiny_clip, tmp_path).camera
    assert camera.is_guess
    assert not camera.is_free
    # 104 pixels across 75 degrees, give or take 30 degrees.
    assert camera.fx == pytest.approx(52 / np.tan(np.radians(37.5)), rel=0.02)
    assert 0.3 < camera.focal_sigma < 0.8
    (note,) = read_frames(tmp_path).notes
    assert note.code == NoteCode.NO_CALIBRATION
    assert "does not tell the focal length" in note.text
    assert "--lens" in note.text
    assert said(tmp_path) == (
        "camera: focal length 68 px +- 57 %, assumed: 75 degrees across, as the clip does not tell it. "
        "--calibration or --lens say more"
    )


def test_a_kind_of_lens_brings_its_angle_and_distortion(tiny_clip, tmp_path):
    frames = extract(tiny_clip, tmp_path, "camera.lens=colonoscope")
    lens = read_frames(tmp_path).lens
    assert lens.model == "EUCM"
    assert lens.params[4] == pytest.approx(0.85)
    rim = lens.unproject(np.array([[lens.pinhole.cx + 52, lens.pinhole.cy]]))[0]
    assert np.degrees(np.arctan2(rim[0], rim[2])) == pytest.approx(70, abs=1.5)
    assert frames.camera.is_guess
    note = read_frames(tmp_path).notes[0].text
    assert "that of --lens colonoscope" in note
    assert note.endswith("Give one with --calibration")
    told = said(tmp_path, "colonoscope")
    assert told.endswith(" %, that of --lens colonoscope, as the clip does not tell it. --calibration says more")


def test_without_estimating_the_mapper_may_refine_the_guess(tiny_clip, tmp_path):
    camera = extract(tiny_clip, tmp_path, "camera.estimate=false").camera
    assert camera.is_free
    assert read_frames(tmp_path).notes == ()
    assert said(tmp_path) == "camera: focal length 68 px, assumed: 75 degrees across"
    extract(tiny_clip, tmp_path / "calibrated", calibration="150,150,80,60")
    assert said(tmp_path / "calibrated") == ""


def test_what_the_clip_tells_is_used_and_said(tmp_path, monkeypatch):
    clip = write_video(tmp_path / "clip.avi", moving_frames(20))
    seen = []

    def told(info, numbers, view, folder, *rest):
        seen.append((len(numbers), folder.is_dir()))
        return LensEstimate(lens_vector(60.0, 0.4, 1.0, (79.5, 59.5)), 0.05, is_told=True)

    monkeypatch.setattr(camera_estimate, "_estimate", told)
    camera = extract(clip, tmp_path / "run").camera
    assert seen == [(20, True)]
    assert not (tmp_path / "run" / "camera.partial").exists()
    assert not camera.is_guess
    assert not camera.is_calibrated
    assert camera.focal_sigma == 0.05
    stored = json.loads((tmp_path / "run" / "frames.json").read_text())
    assert stored["undistorted"]["model"] == "EUCM"
    (note,) = read_frames(tmp_path / "run").notes
    assert note.code == NoteCode.CAMERA_ESTIMATED
    assert "60 px, was estimated from the clip and is good to 5 %" in note.text
    line = "camera: focal length 60 px +- 5 %, estimated from the clip"
    assert said(tmp_path / "run") == line
    assert said(tmp_path / "run", "rigid-0") == f"{line} and what is known of --lens rigid-0"


def test_stretches_cover_a_short_clip_and_are_bounded_in_a_long_one():
    assert stretches(range(12)) == []
    # Thinned out only where enough frames are left.
    assert stretches(range(0, 90, 3)) == [range(0, 90, 3)]
    assert stretches(range(0, 138, 3)) == [range(21, 117, 3)]
    assert stretches(range(75)) == [range(0, 75, 3)]
    middle, end = stretches(range(5000))
    assert len(middle) == len(end) == 32
    assert middle.step == 4
    assert max(end) > 4990
    # A second stretch that shows much of the first again is not looked at.
    assert len(stretches(range(200))) == 1
    assert len(stretches(range(260))) == 2


def test_a_clip_of_which_no_model_can_be_made_keeps_what_is_known(tmp_path):
    # A flat picture that only shifts: no pose can be told from it, or no focal length.
    clip = write_video(tmp_path / "clip.avi", moving_frames(16, step=0.6))
    labels = []

    def progress(items, *, total, label):
        labels.append(label)
        return iter(items)

    camera = extract(clip, tmp_path / "run", "describe.working_height_px=240", progress=progress).camera
    assert labels[-1] == "read frames"
    assert all(label.startswith("estimate camera: ") for label in labels[:-1])
    assert "estimate camera: match" in labels
    assert camera.focal_sigma > 0


def test_key_frames_are_looked_for_in_the_middle_of_a_long_clip_and_on_both_sides_of_it():
    assert key_stretches(range(12)) == []
    assert key_stretches(range(200)) == [range(200)]
    assert key_stretches(range(5000)) == [range(n, n + 256) for n in (2372, 1186, 3558)]
