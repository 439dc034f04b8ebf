"""What COLMAP makes of a finished model: its text format and its own bundle adjustment change nothing for the worse."""

import numpy as np
import pycolmap
from scene import CAMERA, camera_centres, make_scene

from dd_sfm.config import Config
from dd_sfm.io.colmap_model import write_model
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.triangulation import triangulate


def test_text_format_and_bundle_adjustment_leave_a_model_whole(tmp_path):
    frames, tracks, truth = make_scene(points=1500, outliers=0, noise_px=0.3)
    model, _ = triangulate(tracks, truth.cam_from_world, CAMERA, Config())
    (tmp_path / "text").mkdir()
    (tmp_path / "binary").mkdir()
    write_model(tmp_path / "binary", model, frames)
    pycolmap.Reconstruction(tmp_path / "binary").write_text(tmp_path / "text")
    again = pycolmap.Reconstruction(tmp_path / "text")
    assert again.num_points3D() == len(model.xyz)
    assert again.compute_num_observations() == len(model.point)
    again.update_point_3d_errors()
    before = again.compute_mean_reprojection_error()
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_principal_point = options.refine_extra_params = False
    options.print_summary = False
    pycolmap.bundle_adjustment(again, options)
    again.update_point_3d_errors()
    # What is made smallest is the squared error: the mean may rise by a hair.
    assert again.compute_mean_reprojection_error() <= 1.02 * before
    true = camera_centres(truth.cam_from_world)
    found = camera_centres({k: image.cam_from_world().matrix() for k, image in again.images.items()})
    scale, rotation, shift = similarity(found, true)
    path = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1).max() < 0.005 * path
