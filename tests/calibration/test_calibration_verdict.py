from dataclasses import replace

import numpy as np

from dd_sfm.calibration.verdict import Measures, judge

GOOD = Measures(
    views=25, rms_px1000=0.3, rim_px1000=0.3, held_out_ratio=1.05, focal_pct=0.1, rim_reached=0.9, covered=0.8,
    tilted=12, filled=0.3, edge_px=2.5, mirrored=0.0, focal_ratio=1.0,
)  # fmt: skip


def test_a_good_calibration_has_nothing_to_be_told():
    assert judge(GOOD).text == "good"
    assert judge(GOOD).advice == ()


def test_every_fault_is_named_with_what_to_do():
    for changed, grade, reason, advice in (
        ({"views": 7}, "usable", "7 different views", "more sides"),
        ({"views": 4}, "not to be trusted", "4 different views", "more sides"),
        ({"tilted": 0}, "not to be trusted", "0 views with the board tilted", "tilt the board"),
        ({"rms_px1000": 2.0}, "usable", "2.0 px", "flat"),
        ({"focal_pct": 3.1}, "not to be trusted", "focal length is uncertain by 3.1 %", "tilt"),
        ({"rim_reached": 0.5}, "usable", "50% of the field of view's radius", "rim"),
        ({"covered": 0.1}, "not to be trusted", "corners were in 10%", "rim"),
        ({"filled": 0.03}, "usable", "the board takes 3%", "closer"),
        ({"edge_px": 9.0}, "usable", "edges of the board are 9.0 px wide", "still"),
        ({"mirrored": 0.2}, "not to be trusted", "turns back before the rim", "--model fisheye"),
        ({"rim_px1000": np.nan}, "not to be trusted", "near the rim", "rim"),
    ):
        verdict = judge(replace(GOOD, **changed))
        assert verdict.grade == grade, changed
        assert reason in verdict.text
        assert any(advice in line for line in verdict.advice), verdict.advice


def test_the_worst_fault_decides_and_comes_first():
    verdict = judge(replace(GOOD, filled=0.03, focal_pct=5.0))
    assert verdict.grade == "not to be trusted"
    assert verdict.reasons[0].startswith("the focal length")
    assert len(verdict.reasons) == 2


def test_pixels_that_are_not_square_are_told_but_no_fault():
    verdict = judge(replace(GOOD, focal_ratio=1.067))
    assert verdict.grade == "good"
    assert "fx : fy = 1.067" in verdict.text
