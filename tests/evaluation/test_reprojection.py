from dataclasses import replace

import numpy as np
import pytest
from scene import make_scene

from dd_sfm.cameras import PinholeCamera
from dd_sfm.evaluation.comparison.result import point_figures
from dd_sfm.evaluation.model.reprojection import behind_camera_notes, reprojection_summary
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px

SHIFT = np.array([0.5, 0.0])


def scene(fx=600.0, fy=600.0):
    """A model whose observations are where its points project, with pixels of these sides."""
    model = make_scene(frames=6, points=200)[2]
    old, camera = model.camera, PinholeCamera(960, 720, fx, fy, 479.5, 359.5)
    xy = (model.xy - [old.cx, old.cy]) / [old.fx, old.fy] * [fx, fy] + [camera.cx, camera.cy]
    return replace(model, camera=camera, xy=xy)


def errors(model):
    return reprojection_errors_px(model_rays(model), model.xyz)


def test_square_pixels_have_the_errors_of_the_reconstruction():
    model = scene()
    noisy = replace(model, xy=model.xy + np.random.default_rng(0).normal(0, 1, model.xy.shape))
    poses = np.stack([noisy.cam_from_world[f] for f in range(6)])[noisy.frame]
    local = np.einsum("oij,oj->oi", poses[:, :, :3], noisy.xyz[noisy.point]) + poses[:, :, 3]
    expected = local[:, :2] / local[:, 2:] * 600 + [479.5, 359.5] - noisy.xy
    assert errors(noisy) == pytest.approx(np.linalg.norm(expected, axis=1), rel=1e-9)
    assert behind_camera_notes(errors(noisy)) == []


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, 3.0)])
def test_an_error_of_three_pixels_is_one_along_both_sides_of_a_pixel(shift):
    model = scene(600.0, 400.0)
    error = errors(replace(model, xy=model.xy + shift))
    assert error == pytest.approx(3.0)


def test_points_behind_cameras_are_counted_and_left_out():
    model = scene()
    xyz = model.xyz.copy()
    # A third of the points: their mirror images behind the first camera, as in a model that came apart.
    xyz[::3] = [0, 0, -50]
    error = errors(replace(model, xyz=xyz, xy=model.xy + SHIFT))
    behind = model.point % 3 == 0
    assert np.isinf(error).tolist() == behind.tolist()
    assert reprojection_summary(error) == pytest.approx({"reprojection_median_px": 0.5, "reprojection_p90_px": 0.5})
    assert reprojection_summary(error[behind]) == {"reprojection_median_px": None, "reprojection_p90_px": None}
    assert behind_camera_notes(error)[0].startswith(
        f"{behind.sum()} of {len(error):,} observations are of points behind"
    )


def test_the_mean_error_of_a_point_is_over_the_views_that_have_it_in_front():
    model = scene()
    poses = dict(model.cam_from_world)
    # One camera looks away from everything.
    poses[2] = np.diag([1.0, -1.0, -1.0]) @ poses[2]
    points = point_figures(replace(model, cam_from_world=poses, xy=model.xy + SHIFT), np.zeros(len(model.xyz)))
    others = np.bincount(model.point[model.frame != 2], minlength=len(model.xyz))
    assert points.mean_error_px[others > 0] == pytest.approx(0.5)
    assert not np.isnan(points.mean_error_px).any()
