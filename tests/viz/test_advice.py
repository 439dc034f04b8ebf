"""What a run's figures ask for: every rule at its threshold, and the sentences made of them."""

import pytest

from dd_sfm.notes import NoteCode
from dd_sfm.structures import DropReason
from dd_sfm.viz.report.advice import RULES, advice
from dd_sfm.viz.report.facts import Facts
from dd_sfm.viz.report.note_rules import NOTE_RULES
from dd_sfm.viz.report.summary import NOTHING_TO_DO, summarise

GOOD = {
    "frames_used": 75, "frames_registered": 75, "frames_chosen": 75, "frames_thinned": 0, "models": [75],
    "points": 128130, "median_reprojection_error_px": 0.46, "median_triangulation_angle_deg": 11.0,
    "median_uncertainty": 0.0083, "pose_confidence_median": 0.999, "pose_confidence_least": 0.995,
    "pose_confidence": {"00000000": 0.995, "00000001": 0.999}, "camera_from": "calibration", "lens": "unknown",
    "lens_focal_length_px": 333.0, "lens_focal_sigma_px": 0.0, "instruments_share": 0.0,
    "model_details": [{"seconds": [0.0, 2.96]}],
    "coverage": {
        "measured_share": 0.83, "holes_in_view": 1, "holes_at_edge": 14, "holes_out_of_view": 2,
        "holes_out_of_view_share": 0.015, "distance_median": 20.0,
        "holes": [{"kind": "at_edge", "area_share": 0.05, "frame": 74}],
    },
}  # fmt: skip


def facts(codes=(), dropped=None, width=960, sources=1, coverage=None, **changed):
    metrics = GOOD | changed
    if coverage:
        metrics["coverage"] = GOOD["coverage"] | coverage
    return Facts(metrics, sources, dropped or {}, 50.0, frozenset(codes), width)


def given(**changed):
    return {one.code: one.because for one in advice(facts(**changed))}


def test_a_good_run_asks_for_nothing():
    assert advice(facts()) == []
    assert summarise(facts()).better == NOTHING_TO_DO


RULE_CASES = [
    ("calibrate", {"camera_from": "assumed"}, {"camera_from": "calibration"}, "angle of view was assumed"),
    ("check_calibration", {"codes": [NoteCode.CALIBRATION_CENTRE]}, {"codes": [NoteCode.CALIBRATION_SCALED]}, "centre"),
    ("keep_in_view", {"frames_registered": 71}, {"frames_registered": 72}, "4 of 75 frames have no pose"),
    ("look_twice", {"pose_confidence": {"00000012": 0.69}, "pose_confidence_least": 0.69},
     {"pose_confidence": {"00000012": 0.7}}, "frame 12 has a confidence of 0.69"),
    ("more_frames", {"frames_used": 14, "frames_registered": 14}, {"frames_used": 15, "frames_registered": 15},
     "14 frames used"),
    ("move_sideways", {"median_triangulation_angle_deg": 2.9}, {"median_triangulation_angle_deg": 3.0}, "2.9 degrees"),
    ("move_sideways", {"median_uncertainty": 0.06}, {"median_uncertainty": 0.05}, "6 %"),
    ("hold_still", {"median_reprojection_error_px": 1.5}, {"median_reprojection_error_px": 1.4}, "1.5 px"),
    ("hold_still", {"median_reprojection_error_px": 0.8, "width": 480},
     {"median_reprojection_error_px": 2.0, "width": 1920}, "480 px"),
    ("less_blur", {"dropped": {DropReason.BLURRED: 8}}, {"dropped": {DropReason.BLURRED: 7}}, "8 of 75 frames"),
    ("clear_view", {"dropped": {DropReason.OBSCURED: 4}}, {"dropped": {DropReason.OBSCURED: 3}}, "4 of 75 frames"),
    ("clear_view", {"codes": [NoteCode.FEW_DEPTHS_AGREE]}, {}, "hardly any depth of one frame"),
    ("hold_still", {"codes": [NoteCode.FEW_DEPTHS_AGREE, NoteCode.SCENE_MOVES]}, {}, "better than those of all"),
    ("off_the_wall", {"dropped": {DropReason.FEATURELESS: 4}}, {"dropped": {DropReason.FEATURELESS: 3}}, "4 of 75"),
    ("sound_file", {"dropped": {DropReason.UNDECODABLE: 1}}, {"dropped": {DropReason.OTHER_SIZE: 9}}, "1 of 75"),
    ("without_instruments", {"instruments_share": 0.11}, {"instruments_share": 0.1}, "11 %"),
    ("come_closer", {"coverage": {"measured_share": 0.74}}, {"coverage": {"measured_share": 0.75}}, "frame 74"),
    ("look_behind", {"coverage": {"holes_out_of_view_share": 0.051}}, {"coverage": {"holes_out_of_view_share": 0.05}},
     "2 places, 5.1 %"),
    ("hold_still", {"residual_growth": 1.8}, {"residual_growth": 1.7}, "1.8 times better"),
    ("hold_still", {"residual_growth": 1.6, "shared_residual_growth": 1.4},
     {"residual_growth": 1.6, "shared_residual_growth": 1.1}, "1.4 times as far"),
    ("hold_still", {"codes": [NoteCode.SCENE_MOVES]}, {}, "better than those of all frames"),
    ("one_half", {"codes": [NoteCode.SIDE_BY_SIDE]}, {"codes": [NoteCode.STEREO_HALF]}, "the same picture"),
    ("calibrate_to_the_rim", {"codes": [NoteCode.LENS_ENDS_EARLY]}, {"codes": [NoteCode.FIELD_NOT_KEPT]}, "masked"),
    ("stay_near", {"codes": [NoteCode.FEW_MATCHES]}, {}, "hardly any match"),
    ("steady_path", {"codes": [NoteCode.SCALE_JUMP]}, {"codes": [NoteCode.MODEL_SCALES]}, "scale of the model changes"),
    ("steady_path", {"codes": [NoteCode.MODEL_SPLIT, NoteCode.FRAMES_TAKEN_OUT]}, {}, "split"),
    ("more_frames", {"codes": [NoteCode.POSES_UNCONFIRMED]}, {}, "nothing confirms the poses"),
    ("sound_file", {"codes": [NoteCode.VIDEO_ENDS_EARLY]}, {}, "ends early"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "wrong", "right", "because"), RULE_CASES)
def test_each_rule_speaks_beyond_its_threshold_alone(code, wrong, right, because):
    assert list(given(**wrong)) == [code]
    assert because in given(**wrong)[code]
    assert given(**right) == {}


def test_every_code_of_a_note_is_decided():
    assert set(NOTE_RULES) == set(NoteCode)
    assert set(NOTE_RULES.values()) - {None} <= {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("code", NoteCode)
def test_nothing_is_asked_for_only_where_no_note_asks_for_something(code):
    rule = NOTE_RULES[code]
    assert list(given(codes=[code])) == ([rule] if rule else [])
    assert (summarise(facts(codes=[code])).better == NOTHING_TO_DO) == (rule is None)


def test_tissue_that_moves_comes_first():
    codes = [code for code in NoteCode if NOTE_RULES[code]]
    assert advice(facts(codes=codes))[0].code == "hold_still"


def test_every_rule_is_tried():
    assert {case[0] for case in RULE_CASES} == {rule.__name__ for rule in RULES}


def test_an_estimated_camera_says_how_well_and_names_what_is_left_to_do():
    found = advice(facts(camera_from="clip", lens_focal_sigma_px=16.65))
    assert found[0].text == (
        "calibrate the scope, or name its lens with --lens (the focal length was estimated from the clip to ±5 %)"
    )
    named = advice(facts(camera_from="clip", lens="colonoscope", lens_focal_sigma_px=0.0))[0]
    assert named.do == "calibrate the scope"
    assert named.because.endswith("from the clip")


def test_frames_that_were_only_thinned_out_count_for_nothing():
    thinned = {"frames_chosen": 1075, "frames_thinned": 1000, "dropped": {DropReason.THINNED: 1000}}
    assert given(**thinned) == {}
    assert list(given(**thinned | {"dropped": {DropReason.THINNED: 1000, DropReason.BLURRED: 8}})) == ["less_blur"]


def test_what_a_video_in_pieces_asks_for():
    found = advice(facts(frames_registered=32, models=[32, 43], codes=[NoteCode.PIECES_APART]))
    assert found[0].do.startswith("record without a break")
    assert "2 models" in found[0].because


def test_points_that_an_unknown_camera_makes_unsure_ask_for_a_calibration_alone():
    unsure = {"median_uncertainty": 0.2, "codes": [NoteCode.UNCERTAIN_POINTS]}
    assert [one.code for one in advice(facts(camera_from="clip", **unsure))] == ["calibrate"]
    assert "move_sideways" in [one.code for one in advice(facts(**unsure))]


def test_three_pieces_of_advice_are_in_the_sentence_and_the_others_after_it():
    bad = facts(camera_from="assumed", frames_used=10, frames_registered=6, median_triangulation_angle_deg=1.0)
    found = summarise(bad)
    assert found.better.startswith("Calibrate the scope")
    assert found.better.count(";") == 2
    assert [one.code for one in found.further] == ["move_sideways"]


def test_the_first_two_sentences():
    found = summarise(facts())
    assert found.what == (
        "75 of 75 frames, from 0.0 s to 3.0 s of the video, became a model of 128,130 points, 50 scene units long, as "
        "one camera alone does not tell the scale."
    )
    assert "0.46 px" in found.good
    assert "within 0.83 % of the viewing distance of their true place (0.33 % of the model's length)" in found.good
    assert "83 % of the surface in view has points (holes: 1 in it, 14 at its edge, 2 out of view)." in found.good
    assert "holds only" not in found.good


def test_what_is_not_known_is_not_claimed():
    empty = summarise(Facts({}))
    assert empty.what.startswith("0 of 0 frames became a model of 0 points")
    assert "oses were not checked" in empty.good
    assert "not known" in empty.good
    assert "of the video" not in summarise(facts(sources=2)).what
    assert "key frames" in summarise(facts(codes=[NoteCode.KEY_FRAMES])).what
    assert "the largest of 2 models" in summarise(facts(models=[70, 5])).what
    assert "holds only as far as the camera is right" in summarise(facts(codes=[NoteCode.NO_CALIBRATION])).good


def test_figures_that_are_no_numbers_are_taken_for_unknown():
    spoilt = dict.fromkeys(GOOD, "<b>") | {"coverage": ["<b>"], "model_details": [{"seconds": "<b>"}]}
    summarise(Facts(spoilt))
    summarise(Facts(spoilt | {"coverage": {"measured_share": "<b>", "holes": [{"kind": 3}, 4]}}))
