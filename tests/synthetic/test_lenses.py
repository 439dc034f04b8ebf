"""Rendered clips through any lens: rays, field of view, truth, and the calibration that is written beside them."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pycolmap
import pytest
import tiny_clip

from dd_sfm.cli.synth import LensOptions
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.io.calibration import read_calibration
from dd_sfm.io.lens import Lens
from dd_sfm.io.truth import read_truth
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.progress import silent
from dd_sfm.synthetic.clip import write_clip
from dd_sfm.synthetic.lens import make_optics

TINY = replace(tiny_clip.TINY, height=128, depth_every=1)
FISHEYE = "OPENCV_FISHEYE 50 50 80 64 0.02 -0.01 0 0"
OPENCV = "OPENCV 80 82 80.5 64.5 -0.2 0.02 1e-3 0"
UNKNOWN_TO_COLMAP = "DOUBLE_SPHERE 40 40 80 64 -0.2 0.55"


def seen_by(camera, **changes):
    return replace(TINY, lens=replace(TINY.lens, camera=camera, **changes))


@pytest.fixture(scope="module")
def clips(tmp_path_factory, tiny_scene):
    """A clip for each camera."""
    made = {}

    def clip(camera):
        if camera not in made:
            made[camera] = tmp_path_factory.mktemp("lens") / "clip"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "dd_sfm.synthetic.clip.make_scene", lambda settings, _: replace(tiny_scene, settings=settings)
                )
                write_clip(seen_by(camera), made[camera], jobs=1, overwrite=False, progress=silent)
        return made[camera]

    return clip


@pytest.mark.parametrize(
    ("options", "model", "fov"),
    [
        ({"fov": 70.0}, "PINHOLE", 70),
        ({"fov": 100.0, "distortion": "-0.3,0.08"}, "OPENCV", 100),
        ({"fov": 140.0, "fisheye": True}, "OPENCV_FISHEYE", 140),
        ({"fov": 165.0, "fisheye": True, "distortion": "-0.02"}, "OPENCV_FISHEYE", 165),
    ],
)
@pytest.mark.parametrize("circle", [0.6, 0.95])
def test_the_field_spans_the_angle_that_is_asked_for(options, model, fov, circle):
    settings = replace(TINY, lens=replace(TINY.lens, circle=circle))
    optics = make_optics(LensOptions(**options).apply(settings))
    angle = np.degrees(np.arctan(np.hypot(optics.rays[:, 0], optics.rays[:, 1])))
    assert optics.lens.model == model
    assert angle.max() == pytest.approx(fov / 2, abs=1.2)
    assert np.ptp(np.argwhere(optics.mask), axis=0) + 1 == pytest.approx(circle * 1.035 * 128, abs=3)
    back = optics.lens.project(optics.rays)[0]
    assert np.abs(back - np.argwhere(optics.mask)[:, ::-1]).max() < 2e-3


def test_a_pixel_of_a_fisheye_is_as_large_as_it_is():
    """At the rim of an equidistant lens pixels lie as far apart in angle along the radius as at the centre."""
    optics = make_optics(seen_by("OPENCV_FISHEYE 50 50 80 64 0 0 0 0"))
    angle = np.arctan(np.hypot(optics.rays[:, 0], optics.rays[:, 1]))
    around = np.sin(angle) / np.maximum(angle, 1e-9)
    expected = 50 / np.sqrt(np.where(angle > 0, around, 1)) * np.cos(angle)
    assert optics.focal == pytest.approx(expected, rel=1e-3)


def test_the_field_of_a_calibrated_lens_ends_with_it():
    """At the turn of its polynomial, and near 90 degrees, where depth along the axis tells nothing more."""
    bent = make_optics(seen_by("SIMPLE_RADIAL 60 80 64 -0.35", circle=1.3))
    turn = np.degrees(np.arctan(np.hypot(bent.rays[:, 0], bent.rays[:, 1]).max()))
    assert turn <= bent.lens.field_limit_deg == pytest.approx(44.3, abs=0.1)
    wide = make_optics(seen_by("OPENCV_FISHEYE 35 35 80 64 0 0 0 0", circle=1.3))
    assert np.degrees(np.arctan(np.hypot(*wide.rays[:, :2].T).max())) == pytest.approx(85, abs=1)


@pytest.mark.parametrize("camera", [FISHEYE, OPENCV])
def test_truth_and_calibration_hold_the_lens(clips, camera):
    out = clips(camera)
    truth = read_truth(out)
    expected = Lens(camera.split()[0], tuple(map(float, camera.split()[1:])), 160, 128)
    assert truth.lens == expected
    assert read_calibration(str(out / "calibration.txt"), width=160, height=128) == expected
    pixels = np.argwhere(truth.mask)[::7, ::-1].astype(np.float64)
    points, hit = truth.world_points(0, pixels)
    assert hit.mean() > 0.95
    assert np.abs(truth.project(points[hit], 0)[0] - pixels[hit]).max() < 1e-3
    there, visible = truth.correspondences(0, 2, pixels)
    again, _ = truth.correspondences(2, 0, there[visible])
    assert np.median(np.linalg.norm(again - pixels[visible], axis=1)) < 0.3
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    assert (model.camera(1).model_name, tuple(model.camera(1).params)) == (expected.model, expected.params)
    errors = []
    for image in model.images.values():
        seen = [(p.xy, model.points3D[p.point3D_id].xyz) for p in image.points2D if p.has_point3D()]
        xy, xyz = map(np.array, zip(*seen, strict=True))
        pose = image.cam_from_world().matrix()
        errors.append(np.abs(expected.project(xyz @ pose[:, :3].T + pose[:, 3])[0] - from_colmap(xy)).max())
    assert max(errors) < 1e-6


def test_a_lens_that_colmap_does_not_have(clips):
    out = clips(UNKNOWN_TO_COLMAP)
    assert not (out / "sparse").exists()
    assert read_truth(out).lens == read_calibration(str(out / "calibration.txt"), width=160, height=128)


def with_other_truth(clip, folder, change):
    """A folder with the mask of a clip, and what ``change`` makes of its arrays."""
    with np.load(clip / "truth.npz") as content:
        np.savez(folder / "truth.npz", **change(dict(content)))
    shutil.copy(clip / "mask.png", folder)
    return folder


def test_older_truth_is_read(clips, tmp_path):
    out = clips(OPENCV)
    lens = read_truth(out).lens
    without = {"lens_model", "lens_params"}
    with_other_truth(out, tmp_path, lambda truth: {k: v for k, v in truth.items() if k not in without})
    assert read_truth(tmp_path).lens == lens
    without.add("distortion")
    with_other_truth(out, tmp_path, lambda truth: {k: v for k, v in truth.items() if k not in without})
    assert read_truth(tmp_path).lens == Lens.of(lens.pinhole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lens_model": np.array("FISH")}, "camera model FISH; expected one of"),
        ({"lens_params": np.zeros(3)}, "3 parameters; OPENCV_FISHEYE has fx, fy"),
        ({"lens_params": np.full(8, np.nan)}, "lens_params holds values that are not finite"),
        ({"lens_model": np.array(3)}, "camera model 3"),
    ],
)
def test_a_damaged_lens_in_the_truth_is_named(clips, tmp_path, change, message):
    with_other_truth(clips(FISHEYE), tmp_path, lambda truth: truth | change)
    with pytest.raises(InputError, match=message):
        read_truth(tmp_path)


def test_a_calibration_of_any_kind_is_the_lens(tmp_path):
    file = tmp_path / "scope.yaml"
    out = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    for name, value in (("image_width", 320), ("image_height", 256), ("fisheye_model", 1)):
        out.write(name, value)
    out.write("camera_matrix", np.array([[100, 0, 160], [0, 100, 128], [0, 0, 1.0]]))
    out.write("distortion_coefficients", np.array([0.01, 0, 0, 0]))
    out.release()
    settings = LensOptions(calibration=str(file)).apply(TINY)
    lens = make_optics(settings).lens
    assert lens == read_calibration(str(file), width=160, height=128)
    assert (lens.model, lens.params[0]) == ("OPENCV_FISHEYE", 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fov": 120.0, "distortion": "-0.3"}, "folds over itself at 93 degrees"),
        ({"fov": 175.0, "fisheye": True}, "--fov 175: expected 5 to 170"),
        ({"fov": 160.0}, "--fov 160: expected 5 to 150, or up to 170 with --fisheye"),
        ({"fisheye": True}, "--fisheye: no angle; expected --fov DEGREES"),
        ({"distortion": "a"}, "--distortion a: expected k1 or k1,k2"),
        ({"calibration": "80,80,80,64", "fov": 70.0}, "--calibration: expected without --fov"),
    ],
)
def test_options_that_are_no_lens(options, message):
    with pytest.raises(ConfigError, match=message):
        LensOptions(**options).apply(TINY)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ("LENS 1 2 3", "lens.camera LENS 1 2 3: camera model LENS is not known"),
        ("PINHOLE 1 2 3", "lens.camera PINHOLE 1 2 3: 3 parameters of model PINHOLE; expected 4"),
        ("60", "lens.camera 60: expected a camera model and its parameters"),
        ("PINHOLE a b c d", "lens.camera PINHOLE a b c d: "),
        ("PINHOLE 60 60 900 900", "shows nothing in the 160x128 pixels"),
    ],
)
def test_settings_that_are_no_camera(camera, message):
    with pytest.raises(ConfigError, match=message):
        make_optics(seen_by(camera))
