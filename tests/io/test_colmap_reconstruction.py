"""Models handed to COLMAP in memory are what they are when handed over in files."""

from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from scene import CAMERA, make_scene

from dd_sfm.config import Config
from dd_sfm.io.colmap_model import image_names, read_model, write_model
from dd_sfm.io.colmap_reconstruction import to_reconstruction, with_geometry_of
from dd_sfm.sfm.bundle_adjustment import _all_images, _options, bundle_adjust
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.sfm.triangulation import triangulate


@pytest.fixture(scope="module")
def scene():
    frames, tracks, truth = make_scene(points=600, outliers=0, noise_px=0.4)
    poses = {k: pose for k, pose in truth.cam_from_world.items() if k != 5}
    model, _ = triangulate(tracks, poses, CAMERA, Config())
    return frames, replace(model, rgb=np.random.default_rng(0).integers(0, 255, model.rgb.shape).astype(np.uint8))


def test_the_object_holds_what_the_files_hold(scene, tmp_path):
    frames, model = scene
    to_reconstruction(model, image_names(frames)).write_binary(tmp_path)
    again = read_model(tmp_path, {name: k for k, name in enumerate(image_names(frames))})
    assert set(again.cam_from_world) == set(model.cam_from_world)
    for k, pose in model.cam_from_world.items():
        assert again.cam_from_world[k] == pytest.approx(pose, abs=1e-12)
    for name in ("xyz", "rgb", "point", "frame"):
        assert (getattr(again, name) == getattr(model, name)).all()
    assert again.xy == pytest.approx(model.xy, abs=1e-9)
    assert (again.camera.fx, again.camera.fy, again.camera.cx, again.camera.cy) == pytest.approx(
        (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
    )


def test_there_and_back_changes_nothing(scene):
    frames, model = scene
    back = with_geometry_of(model, to_reconstruction(model, image_names(frames)))
    assert back.camera == model.camera
    assert (back.xyz == model.xyz).all()
    assert (back.point == model.point).all()
    for k, pose in model.cam_from_world.items():
        assert back.cam_from_world[k] == pytest.approx(pose, abs=1e-12)
    none = select_points(model, np.zeros(len(model.xyz), bool))
    assert with_geometry_of(none, to_reconstruction(none, image_names(frames))).xyz.shape == (0, 3)


@pytest.mark.parametrize("refine_focal", [False, True])
def test_adjustment_in_memory_is_adjustment_through_files(scene, tmp_path, refine_focal):
    frames, model = scene
    write_model(tmp_path, model, frames)
    through_files = pycolmap.Reconstruction(tmp_path)
    options = _options(refine_focal=refine_focal, scale_px=1.0, threads=1)
    pycolmap.create_default_bundle_adjuster(options, _all_images(through_files), through_files).solve()
    through_files.write_binary(tmp_path)
    expected = read_model(tmp_path, {name: k for k, name in enumerate(image_names(frames))})
    found = bundle_adjust(model, frames, refine_focal=refine_focal, scale_px=1.0, threads=1)
    assert np.abs(expected.xyz - model.xyz).max() > 1e-4
    assert found.xyz == pytest.approx(expected.xyz, abs=1e-9)
    assert found.camera.fx == pytest.approx(expected.camera.fx, rel=1e-9)
    assert (found.camera.fx != CAMERA.fx) == refine_focal
    for k, pose in expected.cam_from_world.items():
        assert found.cam_from_world[k] == pytest.approx(pose, abs=1e-9)
    assert (found.error_px == model.error_px).all()
