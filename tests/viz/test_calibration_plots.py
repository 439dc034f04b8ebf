import cv2
import numpy as np
import pytest

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.fitting import View
from dd_sfm.calibration.lens_models import FISHEYE, project
from dd_sfm.calibration.model_choice import fit_models
from dd_sfm.calibration.result import BoardCalibration, Counts
from dd_sfm.calibration.verdict import judge, measure
from dd_sfm.viz.render.calibration_plots import coverage_figure, residual_figure, straight_picture
from dd_sfm.viz.render.evaluation_plots import png

PARAMS = np.array([98, 98, 159, 121, -0.03, 0.006, -0.004, 0.0005])


@pytest.fixture(scope="module")
def found():
    board, rng = Board(9, 6), np.random.default_rng(0)
    views = []
    for k in range(6):
        pose = np.array([*rng.uniform(-0.4, 0.4, 3), *rng.uniform(-0.8, 0.8, 2), rng.uniform(4.5, 6)])
        xy = project(FISHEYE, PARAMS, pose, board.points)[0]
        views.append(View(k, board.points, xy + rng.normal(0, 0.05, xy.shape)))
    (fit,) = fit_models(views, [FISHEYE], (320, 240), (160, 120))
    field = np.hypot(*np.mgrid[-121:119, -159:161]) < 118
    measures = measure(fit, field, 2.5)
    return BoardCalibration(
        "board.mp4", board, Counts(6, 6, 6, 6, 0, 6), fit, (fit,), field, measures, judge(measures), 3
    )  # fmt: skip


def test_figures_say_how_good_it_is(found):
    residuals, coverage = residual_figure(found), coverage_figure(found)
    assert "residuals of 324 corners" in residuals.axes[0].get_title()
    assert residuals.axes[1].get_title() == "fisheye, k1 k2 k3 k4"
    assert coverage.axes[0].get_title().startswith("6 views; corners in ")
    assert len(png(residuals, 40)) > 3000
    assert len(png(coverage, 40)) > 3000


def test_rows_of_the_board_are_straight_in_the_straightened_picture(found):
    frame = np.zeros((240, 320, 3), np.uint8)
    view = next(v for v in found.chosen.views if v.frame == found.example_frame)
    for x, y in view.xy:
        cv2.circle(frame, (round(16 * x), round(16 * y)), 40, (0, 255, 0), -1, cv2.LINE_AA, 4)
    picture = straight_picture(found, frame)
    assert picture.shape == (240, 640, 3)
    straight = picture[:, 320:].astype(int)
    dots = straight[..., 1] > 120
    lines = straight[..., 0] > 120
    # The label stands in the corner.
    dots[:40, :130] = lines[:40, :130] = False
    # Every dot that is still in the picture has a line through it.
    _, labels = cv2.connectedComponents(np.uint8(dots | lines))
    assert np.bincount(labels[labels > 0]).max() > 0.95 * (labels > 0).sum()
