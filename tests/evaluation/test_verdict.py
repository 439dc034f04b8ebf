import pytest

from dd_sfm.evaluation.comparison.result import Column
from dd_sfm.evaluation.comparison.verdict import verdict


def column(frames=10, points=1000, error=0.5, tail=1.5, true=None, surface=None, cameras=None):
    best = {"points": 100, "reprojection_median_px": error, "reprojection_p90_px": tail}
    best |= {"true_error_median_mm": true, "true_error_p90_mm": tail} if true else {}
    truth = {"surface": {"completeness_1mm": surface}} if surface else None
    if cameras:
        truth = {"surface": None, "trajectory": {"ate_rms_pct_path": cameras}}
    figures = {"frames_registered": frames, "points": points, "best": best, "truth": truth}
    return Column("x", "x", None, "", {}, model=object(), figures=figures)


@pytest.mark.parametrize(
    ("learned", "sift", "start"),
    [
        ({"points": 9000, "error": 0.3}, {}, "The learned descriptor wins: it registers 10 frames, as SIFT does; "),
        (
            {"frames": 8, "points": 500, "error": 0.9},
            {},
            "SIFT wins: the learned descriptor registers 8 frames, SIFT 10",
        ),
        ({"points": 9000, "error": 0.9}, {}, "Neither wins outright: the learned descriptor registers 10 frames"),
        ({"points": 1010, "error": 0.505}, {}, "Both do equally well: the learned descriptor registers 10 frames"),
        ({"frames": 9, "points": 500, "error": 0.5}, {}, "SIFT wins"),
        ({"points": 9000, "error": 0.3, "tail": 1.0}, {}, "The learned descriptor wins"),
        ({"points": 9000, "error": 0.5, "tail": 1.6}, {}, "Neither wins outright"),
        # A better half with a worse tail speaks for neither.
        ({"points": 1000, "error": 0.3, "tail": 11.0}, {}, "Both do equally well"),
    ],
)
def test_whichever_side_wins(learned, sift, start):
    assert verdict(column(**learned), column(**sift)).startswith(start)


def test_true_errors_are_preferred_and_named():
    text = verdict(column(error=0.3, true=0.9), column(error=0.9, true=0.3))
    assert "a higher median true error among the best 100 points of each (0.9 against 0.3 mm; " in text
    assert text.startswith("SIFT wins")
    assert "90 % are below 1.5 against 1.5)" in text
    assert "a lower median reprojection error" in verdict(column(error=0.3), column(error=0.9, true=0.3))


def test_the_surface_counts_too():
    text = verdict(column(true=0.3, surface=0.2), column(true=0.9, surface=0.8))
    assert text.startswith("Neither wins outright")
    assert "20 % of the visible surface, SIFT of 80 %" in text


def test_cameras_count_where_there_is_a_reference():
    text = verdict(column(points=9000, cameras=1.08), column(cameras=0.76))
    assert text.startswith("Neither wins outright")
    assert "has cameras 1.1 % of the path off, SIFT 0.76 %" in text
    # Within ten percent: the same.
    assert verdict(column(points=9000, cameras=0.80), column(cameras=0.76)).startswith("The learned descriptor wins")


def test_cameras_do_not_count_where_one_side_lost_frames():
    text = verdict(column(points=9000, frames=75, cameras=0.26), column(frames=10, cameras=0.1))
    assert text.startswith("The learned descriptor wins")
    assert "has cameras 0.26 % of the path off, SIFT 0.1 %, each over the frames that it registers" in text


def test_numbers_and_end():
    text = verdict(column(points=52_300), column(points=1000))
    assert "gives 52 times as many points as SIFT (52,300 against 1,000)" in text
    assert text.endswith(".")
    assert verdict(column(points=3600), column(points=1000)).count("3.6 times") == 1


def test_no_model_at_all():
    nothing = Column("x", "x", None, "why", {})
    assert verdict(nothing, nothing) == "Neither the learned descriptor nor x found a model."
