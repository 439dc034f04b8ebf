from dataclasses import replace

import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.features.given_poses import GIVEN
from dd_sfm.io.lens import Lens
from dd_sfm.io.run_folder import ExtractedFrames
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.metrics import camera_figures, point_notes, pose_notes, side_model_notes
from dd_sfm.structures import MapResult, VerifiedPairs

CAMERA = PinholeCamera(640, 480, 200.0, 200.0, 319.5, 239.5)


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"depth_maps": 12, "dense_points": 900}, ""),
        ({"depth_maps": 0, "dense_points": 0}, "no frame had neighbours"),
        ({"depth_maps": 5, "dense_points": 0}, "no depth that frames agree on"),
        ({"depth_maps": 12, "dense_points": 900, "median_uncertainty": 0.02}, ""),
        ({"depth_maps": 12, "dense_points": 900, "median_uncertainty": 0.326}, "to be more than 33 % of their"),
        ({"depth_maps": 12, "dense_points": 900, "residual_growth": 1.6}, ""),
        ({"depth_maps": 12, "dense_points": 900, "residual_growth": 2.1}, "2.1 times better"),
        ({"depth_maps": 12, "residual_growth": 1.6, "shared_residual_growth": 1.1}, ""),
        ({"depth_maps": 12, "residual_growth": 1.6, "shared_residual_growth": 1.4}, "off together 1.4 times as far"),
        ({"depth_maps": 4, "depths_found": 5000, "depths_confirmed": 1010, "dense_points": 900}, ""),
        ({"depth_maps": 4, "depths_found": 5000, "depths_confirmed": 940, "dense_points": 400}, "only 19 % of"),
        # Few references have few others to agree with, and runs of older versions did not count them.
        ({"depth_maps": 3, "depths_found": 5000, "depths_confirmed": 450, "dense_points": 400}, ""),
        ({"depth_maps": 7, "depths_found": 5000, "dense_points": 400}, ""),
        # Without a dense search, as by configuration or for SIFT.
        ({"points": 10}, ""),
    ],
)
def test_points_that_are_few_or_unsure_are_told(figures, told):
    notes = point_notes(figures, CAMERA)
    assert len(notes) == bool(told)
    assert told in "".join(note.text for note in notes)


def test_depths_that_nothing_confirms_are_told_once():
    none = {"depth_maps": 7, "depths_found": 5000, "depths_confirmed": 10, "dense_points": 0}
    assert [note.code for note in point_notes(none, CAMERA)] == [NoteCode.NO_DEPTH_AGREEMENT]
    few = none | {"dense_points": 8}
    assert [note.code for note in point_notes(few, CAMERA)] == [NoteCode.FEW_DEPTHS_AGREE]


def mapped(sizes, checked=True, codes=(), mapper="global"):
    """A result of mapping with models of so many frames."""
    models = [dict.fromkeys(range(size), np.eye(3, 4)) for size in sizes]
    confidence = [dict.fromkeys(model, 0.97) for model in models] if checked else []
    notes = [Note(code, "") for code in codes]
    cameras = [CAMERA] * len(models)
    return MapResult(models, cameras, mapper, VerifiedPairs(1, 1, 1), {}, notes=notes, confidence=confidence)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (mapped([5]), "the model has 5 frames"),
        (mapped([5, 3]), "the largest model has 5 frames"),
        (mapped([6]), ""),
        (mapped([40, 4]), ""),
        # SIFT's models are not checked, and given poses not found.
        (mapped([5], checked=False), ""),
        (mapped([5], mapper=GIVEN), ""),
        (mapped([5], codes=[NoteCode.KNOWN_POSES]), ""),
        (mapped([5], codes=[NoteCode.POSES_UNCONFIRMED]), ""),
    ],
)
def test_a_model_of_few_frames_is_doubted_whatever_its_confidence(found, told):
    notes = pose_notes(found)
    assert [note.code for note in notes] == [NoteCode.FEW_FRAMES] * bool(told)
    assert all(note.text.startswith(told) for note in notes)


SOUND = {"depth_maps": 12, "dense_points": 900, "depths_found": 5000, "depths_confirmed": 2500}
APART = SOUND | {"depths_confirmed": 940}


def test_further_models_are_doubted_in_one_note():
    assert side_model_notes(mapped([40]), [APART]) == []
    assert side_model_notes(mapped([40, 9]), [SOUND, SOUND]) == []
    assert side_model_notes(mapped([40, 4], checked=False), [SOUND, {}]) == []
    (note,) = side_model_notes(mapped([40, 9, 4, 3]), [APART, APART, SOUND, {}])
    assert note.code is NoteCode.MODELS_DOUBTED
    assert "sparse/2, sparse/3: fewer than 6 frames" in note.text
    assert "sparse/1: hardly any depth" in note.text
    (many,) = side_model_notes(mapped([40] + [4] * 20), [SOUND] * 21)
    assert "sparse/8, ...: fewer" in many.text


def test_a_camera_that_is_not_known_is_mended_first():
    figures = {"depth_maps": 12, "dense_points": 900, "median_uncertainty": 0.326}
    assert "--lens" in point_notes(figures, replace(CAMERA, is_guess=True))[0].text
    assert "--lens" not in point_notes(figures, CAMERA)[0].text


def test_focal_lengths_of_lens_and_frames_are_told_apart():
    # The undistorted frames are drawn with a focal length of 200 px, the lens has one of 300 px, good to 5 %.
    camera = PinholeCamera(640, 480, 200.0, 200.0, 319.5, 239.5, focal_sigma=0.05)
    lens = Lens("EUCM", (300.0, 300.0, 320.0, 240.0, 0.8, 1.0), 640, 480)
    frames = ExtractedFrames("a.mp4", 640, 480, 25.0, 3, camera, lens, 480, "png", ())
    figures = camera_figures(frames, 200.0)
    assert (figures["focal_length_px"], figures["focal_sigma_px"]) == (200.0, 10.0)
    assert (figures["lens_focal_length_px"], figures["lens_focal_sigma_px"]) == (300.0, 15.0)
    assert (figures["calibrated"], figures["camera_from"]) == (False, "clip")
    assert figures["distortion"]["model"] == "EUCM"


@pytest.mark.parametrize(
    ("camera", "source"),
    [
        (PinholeCamera(640, 480, 200.0, 200.0, 319.5, 239.5), "calibration"),
        (PinholeCamera(640, 480, 200.0, 200.0, 319.5, 239.5, is_guess=True, focal_sigma=0.4), "assumed"),
        (PinholeCamera(640, 480, 200.0, 200.0, 319.5, 239.5, is_guess=True), "assumed"),
    ],
)
def test_of_a_pinhole_the_frames_have_the_lens_s_focal_length(camera, source):
    # The mapper has refined that of a camera that was free.
    figures = camera_figures(ExtractedFrames("a.mp4", 640, 480, 25.0, 3, camera, None, 480, "png", ()), 220.0)
    assert figures["lens_focal_length_px"] == figures["focal_length_px"] == 220.0
    assert (figures["calibrated"], figures["camera_from"]) == (source == "calibration", source)
