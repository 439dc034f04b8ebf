"""Dense points of a clip of a slanted plane, and poses made better by them."""

from dataclasses import replace

import numpy as np
import pytest
from scene import camera_centres
from scipy.spatial.transform import Rotation
from slanted import CAMERA, CONFIG, NORMAL, plane_model, poses, write_clip

from dd_sfm.io.working import working_grid
from dd_sfm.mvs.dense_points import dense_points
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.pose_refinement import refine_poses
from dd_sfm.progress import silent
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px, similarity
from dd_sfm.sfm.point_selection import concatenate_points, select_points
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import Tracks


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def found(clip):
    return dense_points(images(clip), plane_model(), CONFIG, silent)


def images(clip):
    return GreyImages(clip, working_grid(clip, CONFIG, 2))


def centre_error(found):
    """Mean distance of camera centres after the best similarity."""
    centres, true = camera_centres(found), camera_centres(poses())
    scale, rotation, shift = similarity(centres, true)
    return np.linalg.norm(scale * centres @ rotation.T + shift - true, axis=1).mean()


def test_dense_points_lie_on_the_plane(found):
    model = concatenate_points(*found.parts)
    error = np.abs(model.xyz @ NORMAL - 1)
    assert len(model.xyz) > 1500  # of 5 references with 1200 depths each, every surface point once
    assert np.median(error) < 0.001
    assert np.percentile(error, 95) < 0.01
    assert np.bincount(model.point).min() >= 3
    assert np.median(reprojection_errors_px(model_rays(model), model.xyz)) < 0.1


def test_what_is_promised_of_dense_points_holds(found):
    xyz = np.concatenate([part.xyz for part in found.parts])
    assert found.uncertainty.shape == (len(xyz),)
    error = np.abs(xyz @ NORMAL - 1)
    # Half of the points are to stay below; perfect light and texture do better.
    assert (error < found.uncertainty).mean() > 0.5
    assert found.uncertainty.max() < CONFIG.dense.max_gap_uncertainty


def test_figures_count_what_there_is(found):
    figures = found.figures
    assert figures["depth_maps"] == 5
    assert figures["dense_points"] == sum(len(part.xyz) for part in found.parts)
    assert 5 * 1200 >= figures["depths_found"] > figures["depths_confirmed"] > figures["depths_agreed_once"]
    assert figures["depths_agreed_once"] >= figures["dense_points"]


@pytest.mark.parametrize("frames", [(), (3,)])
def test_too_few_references_give_no_points(clip, frames):
    whole = plane_model()
    # Only these frames have points enough to be searched.
    keep = np.zeros(len(whole.xyz), bool)
    for frame in frames:
        keep[whole.point[whole.frame == frame]] = True
    rows = np.isin(whole.frame, frames) if frames else np.arange(len(whole.point)) < 0
    part = select_points(replace(whole, point=whole.point[rows], frame=whole.frame[rows], xy=whole.xy[rows]), keep)
    found = dense_points(images(clip), part, replace(CONFIG, dense=replace(CONFIG.dense, every=1)), silent)
    assert found.figures["depth_maps"] == len(frames)
    assert sum(len(part.xyz) for part in found.parts) == len(found.uncertainty) == 0
    assert refine_poses(images(clip), part, CONFIG, silent)[0] is part


def test_joined_points_keep_their_observations():
    whole = plane_model()
    half = np.arange(len(whole.xyz)) % 2 == 0
    both = concatenate_points(select_points(whole, half), select_points(whole, ~half))
    assert len(both.xyz) == len(whole.xyz)
    assert len(both.point) == len(whole.point)
    assert reprojection_errors_px(model_rays(both), both.xyz).max() < 1e-6


def test_dense_points_mend_disturbed_poses(clip):
    rng = np.random.default_rng(2)
    moved = {}
    for k, pose in poses().items():
        turn = Rotation.from_rotvec(rng.normal(0, 0.001, 3)).as_matrix()
        moved[k] = turn @ pose + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.03, 3)])
    # Tracks as matching gives them: few, and a third of a pixel off.
    truth = plane_model(4.0)
    noisy = (truth.xy + rng.normal(0, 0.3, truth.xy.shape)).astype(np.float32)
    anchor = np.r_[True, np.diff(truth.point) > 0]
    tracks = Tracks(truth.point, truth.frame, noisy, np.ones(len(noisy), np.float32), anchor)
    model, _ = triangulate(tracks, moved, CAMERA, CONFIG, scale=2.0)
    better, maps = refine_poses(images(clip), model, CONFIG, silent)
    # Adjusting so few tracks alone would make the poses worse.
    alone = bundle_adjust(model, clip, refine_focal=False, scale_px=0.5, threads=1)
    assert centre_error(better.cam_from_world) < 0.15 * centre_error(moved)
    assert centre_error(better.cam_from_world) < 0.15 * centre_error(alone.cam_from_world)
    assert better.camera == CAMERA
    assert len(maps) == 5
