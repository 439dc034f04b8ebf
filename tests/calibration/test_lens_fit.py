"""Lenses fitted to corners that are computed from known ones, with noise of a known size."""

import cv2
import numpy as np
import pytest

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.certainty import projection_deviation
from dd_sfm.calibration.fitting import View
from dd_sfm.calibration.lens_models import FISHEYE, MODELS, PINHOLE, PINHOLE_K3, project, turning_radius
from dd_sfm.calibration.model_choice import MIRRORED, beyond_turn, choose_model, fit_models

SIZE, FIELD = (640, 480), np.ones((480, 640), bool)
BOARD = Board(9, 6)
LENSES = {
    "pinhole of 70 degrees": (PINHOLE, (457, 455, 325, 236, 0, 0, 0, 0), (10, 14)),
    "k1 -0.3 at 100 degrees": (PINHOLE, (270, 269, 322, 238, -0.3, 0.09, 0.001, -0.002), (5, 8)),
    "fisheye of 140 degrees": (FISHEYE, (196, 195, 318, 243, -0.03, 0.006, -0.004, 0.0005), (3.2, 6)),
}


def seen_views(model, params, distances, count=15, noise=0.1, seed=0):
    """Views of the board whose corners all lie in the picture."""
    rng, views = np.random.default_rng(seed), []
    while len(views) < count:
        z = rng.uniform(*distances)
        pose = np.array([*rng.uniform(-0.6, 0.6, 3), *rng.uniform(-0.35, 0.35, 2) * z, z])
        xy = project(model, np.array(params, float), pose, BOARD.points)[0]
        if ((xy > 5) & (xy < np.array(SIZE) - 6)).all() and turned_up(pose):
            views.append(View(len(views), BOARD.points, xy + rng.normal(0, noise, xy.shape)))
    return views


def turned_up(pose):
    """Whether all of the board lies in front of the camera."""
    return bool(((BOARD.points @ cv2.Rodrigues(pose[:3])[0].T + pose[3:])[:, 2] > 0.5).all())


@pytest.mark.parametrize("name", LENSES)
def test_parameters_are_found_within_their_deviations(name):
    model, params, distances = LENSES[name]
    fits = fit_models(seen_views(model, params, distances), MODELS["auto"], SIZE, (319.5, 239.5))
    found = choose_model(fits, FIELD)
    assert found.fit.model is model
    assert np.abs((found.fit.params - params) / found.deviations).max() < 3
    # 0.1 px along both axes.
    assert found.fit.rms_px == pytest.approx(0.1414, rel=0.06)
    assert found.held_out_rms_px == pytest.approx(found.fit.rms_px, rel=0.1)
    assert (found.left_out, found.corners_left_out) == ((), 0)


def test_deviations_are_as_large_as_errors_are():
    model, params, distances = LENSES["k1 -0.3 at 100 degrees"]
    ratios = []
    for seed in range(7):
        (found,) = fit_models(seen_views(model, params, distances, 12, seed=seed), [PINHOLE], SIZE, (319.5, 239.5))
        ratios.append((found.fit.params - params) / found.deviations)
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.2
    assert np.abs(ratios).max() < 3.5


def test_three_radial_coefficients_are_taken_where_two_do_not_do():
    params = (270, 269, 322, 238, -0.3, 0.12, 0, 0, -0.02)
    fits = fit_models(seen_views(PINHOLE_K3, params, (5, 8), noise=0.03), MODELS["pinhole"], SIZE, (319.5, 239.5))
    found = choose_model(fits, FIELD)
    assert found.fit.model is PINHOLE_K3
    assert np.abs((found.fit.params - params) / found.deviations).max() < 3


def test_views_and_corners_that_no_lens_explains_are_left_out():
    model, params, distances = LENSES["fisheye of 140 degrees"]
    views = seen_views(model, params, distances)
    # A board whose rows were told apart wrongly, and a corner drawn away by a highlight.
    views[3] = View(3, views[3].points, np.roll(views[3].xy, 5, axis=0))
    views[6].xy[20] += (4, -3)
    (found,) = fit_models(views, [FISHEYE], SIZE, (319.5, 239.5))
    assert found.left_out == (3,)
    assert found.corners_left_out == 1
    assert np.abs((found.fit.params - params) / found.deviations).max() < 3


def test_boards_that_are_not_tilted_leave_the_focal_length_open():
    rng = np.random.default_rng(1)
    params = np.array(LENSES["pinhole of 70 degrees"][1], float)
    views = []
    for k in range(6):
        pose = np.array([0, 0, rng.uniform(-1, 1), *rng.uniform(-2, 2, 2), rng.uniform(11, 14)])
        xy = project(PINHOLE, params, pose, BOARD.points)[0]
        views.append(View(k, BOARD.points, xy + rng.normal(0, 0.1, xy.shape)))
    (found,) = fit_models(views, [PINHOLE], SIZE, (319.5, 239.5))
    assert found.deviations[0] / found.fit.params[0] > 0.02


def test_the_projection_is_surest_where_corners_were():
    model, params, distances = LENSES["fisheye of 140 degrees"]
    (found,) = fit_models(seen_views(model, params, distances), [FISHEYE], SIZE, (319.5, 239.5))
    places, deviation = projection_deviation(model, found.fit.params, found.covariance, FIELD)
    radius = np.linalg.norm(places - (318, 243), axis=1)
    assert np.median(deviation[radius < 100]) < 0.05
    assert np.median(deviation[radius > 240]) > 2 * np.median(deviation[radius < 100])


def test_a_polynomial_that_turns_back_is_known():
    # r - 0.3 r^3 is highest at r = 1.054.
    angle, radius = turning_radius(PINHOLE, np.array([-0.3, 0, 0, 0]))
    assert np.tan(angle) == pytest.approx(1 / np.sqrt(0.9))
    assert radius == pytest.approx(2 / 3 / np.sqrt(0.9))
    assert turning_radius(PINHOLE, np.array([-0.3, 0.2, 0, 0])) == (np.inf, np.inf)
    assert turning_radius(FISHEYE, np.zeros(4)) == (np.inf, np.inf)
    params = (330, 330, 320, 240, -0.3, 0, 0, 0)
    (found,) = fit_models(seen_views(PINHOLE, params, (7, 9)), [PINHOLE], SIZE, (319.5, 239.5))
    assert beyond_turn(found, FIELD) > MIRRORED
    # All that lies within 0.7 focal lengths.
    circle = np.hypot(*np.mgrid[-240:240, -320:320]) < 225
    assert beyond_turn(found, circle) == 0
