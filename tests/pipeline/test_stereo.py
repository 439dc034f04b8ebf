"""Stereo recordings are told from pictures of one camera."""

from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from conftest import ROOT, moving_frames
from test_frames import extract, notes
from test_source_part import stereo_pictures, write_folder

from dd_sfm.io.run_folder import read_frames
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.stereo import stereo_notes


@cache
def clip_frames(organ):
    info = open_source(ROOT / "demo_videos" / organ / "clip.mp4")
    found = iter_frames(info, range(0, 24, 4))
    return [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for _, image in found]


@pytest.mark.parametrize("organ", ["sinus", "colon", "bladder"])
def test_a_clip_of_one_camera_has_no_halves_alike(organ):
    assert stereo_notes(clip_frames(organ)) == []


@pytest.mark.parametrize("organ", ["sinus", "colon"])
@pytest.mark.parametrize(("axis", "named"), [(1, "--stereo left or --stereo right"), (0, "--stereo top or --stereo b")])
@pytest.mark.parametrize("squeezed", [False, True])
def test_two_views_of_one_scene_are_named(organ, axis, named, squeezed):
    frames = clip_frames(organ)
    rng = np.random.default_rng(0)
    pictures = []
    for one, other in pairwise(frames):
        # The other eye's camera is a little brighter and lower, and both are noisy.
        other = np.roll(cv2.convertScaleAbs(other, alpha=1.1, beta=4), 3, 0)
        both = np.concatenate([one, other], axis)
        both = np.clip(both + rng.normal(0, 4, both.shape), 0, 255).astype(np.uint8)
        pictures.append(cv2.resize(both, one.shape[1::-1], interpolation=cv2.INTER_AREA) if squeezed else both)
    (note,) = stereo_notes(pictures)
    assert note.code is NoteCode.SIDE_BY_SIDE
    assert named in note.text


def test_one_frame_alone_is_no_stereo_recording():
    frames = moving_frames(9)
    pictures = [np.concatenate([frame, frame[::-1, ::-1]], 1) for frame in frames]
    pictures[4] = np.concatenate([frames[4], frames[5]], 1)
    assert stereo_notes(pictures) == []


def test_a_run_names_the_option(tmp_path):
    folder = write_folder(tmp_path / "images", stereo_pictures(axis=1)[1])
    extract(folder, tmp_path / "run", calibration="150,150,160,60")
    assert [note.code for note in read_frames(tmp_path / "run").notes].count(NoteCode.SIDE_BY_SIDE) == 1
    assert any("--stereo left or --stereo right" in text for text in notes(tmp_path / "run"))
