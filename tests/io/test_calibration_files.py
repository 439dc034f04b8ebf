"""Calibrations as tools write them: rays must land where the tool's own formula, or OpenCV, puts them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.calibration import open_calibration, read_calibration
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.lens import Lens
from dd_sfm.notes import NoteCode

WIDTH, HEIGHT = 640, 480
K = np.array([[300.0, 0, 325.5], [0, 310.0, 236.25], [0, 0, 1]])
RAYS = np.array([[0, 0, 1], [0.3, 0.2, 1], [-0.5, 0.4, 1], [0.6, -0.5, 1], [-0.7, -0.3, 1.0]])
BENT = [-0.3, 0.1, 0.001, -0.002]
RATIONAL = [*BENT, 0.02, 0.1, 0.05, 0.01]
EQUIDISTANT = [-0.05, 0.01, -0.004, 0.001]


def write(tmp_path, content, name="scope.yaml"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def read(text):
    return read_calibration(str(text), width=WIDTH, height=HEIGHT)


def lands_at(lens, expected):
    assert np.abs(lens.project(RAYS)[0] - expected).max() < 1e-3


def opencv(coefficients, matrix=K):
    return cv2.projectPoints(RAYS[:, None], np.zeros(3), np.zeros(3), matrix, np.array(coefficients))[0][:, 0]


def opencv_fisheye(coefficients, matrix=K):
    return cv2.fisheye.projectPoints(RAYS[:, None], np.zeros(3), np.zeros(3), matrix, np.array(coefficients))[0][:, 0]


def mei(xi, bent=(0, 0, 0, 0), rays=RAYS):
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    flat = rays[:, :2] / (rays[:, 2:] + xi)
    ones = np.column_stack([flat, np.ones(len(flat))])
    return cv2.projectPoints(ones[:, None], np.zeros(3), np.zeros(3), K, np.array(bent, float))[0][:, 0]


def file_storage(tmp_path, name, **values):
    path = str(tmp_path / name)
    storage = cv2.FileStorage(path, cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        storage.write(key, value)
    storage.release()
    return path


@pytest.mark.parametrize("suffix", ["yaml", "yml", "xml", "json"])
@pytest.mark.parametrize("coefficients", [[], BENT, [*BENT, 0.02], RATIONAL, [*RATIONAL, 0, 0, 0, 0, 0, 0]])
def test_opencvs_own_files(tmp_path, suffix, coefficients):
    values = {"camera_matrix": K, "image_width": WIDTH, "image_height": HEIGHT}
    if coefficients:
        values["distortion_coefficients"] = np.array([coefficients])
    lands_at(read(file_storage(tmp_path, f"scope.{suffix}", **values)), opencv(coefficients or [0.0] * 4))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"<image_width>{WIDTH}", "<image_width>" + "9" * 8000),
        ("<opencv_storage>", "<!DOCTYPE a [<!ENTITY b 'c'>]><opencv_storage>"),
        ("<opencv_storage>", "<opencv_storage>" + "<a>" * 5000),
        ("<opencv_storage>", "<opencv_storage>" + "<a>" * 5000 + "</a>" * 5000),
        ("opencv_storage", "svg"),
    ],
)
def test_hostile_xml_is_refused(tmp_path, old, new):
    path = file_storage(tmp_path, "scope.xml", camera_matrix=K, image_width=WIDTH, image_height=HEIGHT)
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    with pytest.raises(InputError):
        read(path)


@pytest.mark.parametrize("suffix", ["yaml", "xml", "json"])
def test_opencvs_own_fisheye_file(tmp_path, suffix):
    path = file_storage(
        tmp_path, f"scope.{suffix}", fisheye_model=1, camera_matrix=K, distortion_coefficients=np.array(EQUIDISTANT)
    )
    lens = read(path)
    assert lens.model == "OPENCV_FISHEYE"
    lands_at(lens, opencv_fisheye(EQUIDISTANT))
    path = file_storage(
        tmp_path, "normal.yaml", fisheye_model=0, camera_matrix=K, distortion_coefficients=np.array(BENT)
    )
    lands_at(read(path), opencv(BENT))


@pytest.mark.parametrize("extra", [[0.001, 0.0002, -0.001, 0.0001], [0, 0, 0, 0, 0.01, -0.02]])
def test_thin_prisms_and_tilted_sensors_of_opencv(tmp_path, extra):
    coefficients = [*RATIONAL, *extra]
    path = file_storage(tmp_path, "scope.yaml", camera_matrix=K, distortion_coefficients=np.array(coefficients))
    lands_at(read(path), opencv(coefficients))


def test_an_omnidirectional_lens_of_opencv(tmp_path):
    path = file_storage(tmp_path, "a.yaml", camera_matrix=K, distortion_coefficients=np.zeros(4), xi=1.2)
    lens = read(path)
    # Without distortion COLMAP has it exactly.
    assert lens.model == "EUCM"
    lands_at(lens, mei(1.2))
    bent = [-0.2, 0.05, 0.001, -0.0005]
    lands_at(read(file_storage(tmp_path, "b.yaml", K=K, D=np.array(bent), xi=np.array([[1.2]]))), mei(1.2, bent))


def ros(**values):
    return {"width": WIDTH, "height": HEIGHT, **values}


@pytest.mark.parametrize("names", ["KD", "kd"])
def test_ros_camera_info(tmp_path, names):
    k, d = names
    data = K.ravel().tolist()
    path = write(tmp_path, ros(**{k: data, d: [*BENT, 0.0], "distortion_model": "plumb_bob"}))
    lands_at(read(path), opencv(BENT))
    path = write(tmp_path, f"width: 640\nheight: 480\n{k}: {data}\n{d}: {BENT}\nroi:\n  x_offset: 0\n---\n")
    lands_at(read(path), opencv(BENT))
    path = write(tmp_path, ros(**{k: data, d: EQUIDISTANT, "distortion_model": "equidistant"}))
    lands_at(read(path), opencv_fisheye(EQUIDISTANT))
    path = write(tmp_path, ros(**{k: data, d: RATIONAL, "distortion_model": "rational_polynomial"}))
    lands_at(read(path), opencv(RATIONAL))


@pytest.mark.parametrize(("x", "y"), [(2, 2), (2, 1), (4, 2)])
def test_ros_has_the_matrix_before_pixels_are_put_together(tmp_path, x, y):
    """``binning_x`` and ``binning_y``: the pictures are so many times smaller than width and height say."""
    full = np.diag([x, y, 1]) @ K
    full[0, 2], full[1, 2] = x * (K[0, 2] + 0.5) - 0.5, y * (K[1, 2] + 0.5) - 0.5
    values = {"K": full.ravel().tolist(), "D": BENT, "binning_x": x, "binning_y": y}
    roi = {"x_offset": 0, "y_offset": 0, "width": x * WIDTH, "height": y * HEIGHT, "do_rectify": False}
    for size in ({"width": x * WIDTH, "height": y * HEIGHT}, {}):
        lens = read(write(tmp_path, {**values, **size, "roi": roi}))
        assert lens.size == (WIDTH, HEIGHT)
        lands_at(lens, opencv(BENT))
    for none in ({"binning_x": 0, "binning_y": 0}, {"binning_x": 1, "binning_y": 1}):
        lands_at(read(write(tmp_path, ros(K=K.ravel().tolist(), D=BENT, **none))), opencv(BENT))


def kalibr(model, intrinsics, bend="none", coefficients=(), name="cam0", size=(WIDTH, HEIGHT)):
    return (
        f"{name}:\n  camera_model: {model}\n  distortion_model: {bend}\n  distortion_coeffs: {list(coefficients)}\n"
        f"  intrinsics: {list(intrinsics)}\n  resolution: {list(size)}\n  rostopic: /cam/image\n"
    )


FOCALS = [300.0, 310.0, 325.5, 236.25]


def test_kalibrs_camchain(tmp_path):
    lands_at(read(write(tmp_path, kalibr("pinhole", FOCALS, "radtan", BENT))), opencv(BENT))
    lands_at(read(write(tmp_path, kalibr("pinhole", FOCALS, "equidistant", EQUIDISTANT))), opencv_fisheye(EQUIDISTANT))
    lands_at(read(write(tmp_path, kalibr("omni", [1.2, *FOCALS]))), mei(1.2))
    lands_at(read(write(tmp_path, kalibr("omni", [1.2, *FOCALS], "radtan", BENT))), mei(1.2, BENT))
    x, y, z = RAYS.T
    depth = 0.6 * np.sqrt(1.1 * (x**2 + y**2) + z**2) + 0.4 * z
    expected = RAYS[:, :2] / depth[:, None] * FOCALS[:2] + FOCALS[2:]
    lands_at(read(write(tmp_path, kalibr("eucm", [0.6, 1.1, *FOCALS]))), expected)
    radius = np.hypot(x, y) / z
    bent = np.arctan(2 * radius * np.tan(0.45)) / 0.9
    expected = RAYS[:, :2] / z[:, None] * (bent / np.where(radius > 0, radius, 1))[:, None] * FOCALS[:2] + FOCALS[2:]
    lands_at(read(write(tmp_path, kalibr("pinhole", FOCALS, "fov", [0.9]))), expected)


def test_kalibrs_double_sphere(tmp_path):
    lens = read(write(tmp_path, kalibr("ds", [-0.2, 0.55, *FOCALS])))
    x, y, z = RAYS.T
    shifted = z - 0.2 * np.linalg.norm(RAYS, axis=1)
    depth = 0.55 * np.sqrt(x**2 + y**2 + shifted**2) + 0.45 * shifted
    lands_at(lens, RAYS[:, :2] / depth[:, None] * FOCALS[:2] + FOCALS[2:])


def test_of_several_cameras_one_is_named_or_fits(tmp_path):
    two = kalibr("pinhole", FOCALS) + kalibr("pinhole", [400.0, *FOCALS[1:]], name="cam1")
    path = write(tmp_path, two)
    with pytest.raises(InputError, match=r"2 cameras \(cam0, cam1\); expected the name of one after the file: .*#cam0"):
        read(path)
    assert read(f"{path}#cam1").params[0] == 400
    with pytest.raises(InputError, match=r"no camera 'cam2'; expected one of cam0, cam1"):
        read(f"{path}#cam2")
    other = kalibr("pinhole", FOCALS) + kalibr("pinhole", FOCALS, name="cam1", size=(320, 200))
    assert read(write(tmp_path, other)).params[0] == 300
    left, right = K + np.diag([100.0, 100, 0]), K
    path = file_storage(tmp_path, "stereo.yaml", M1=left, D1=np.array(BENT), M2=right, D2=np.zeros(4))
    assert read(f"{path}#1").model == "OPENCV"
    assert read(f"{path}#2").params[0] == 300
    two = {"KL": left.tolist(), "DL": BENT, "KR": right.tolist(), "DR": [0.0] * 4}
    path = write(tmp_path, {"camera-calibration": two}, "stereo.json")
    assert read(f"{path}#l").model == "OPENCV"
    assert read(f"{path}#r").params[0] == 300


def orb_slam(kind, prefix, names, values):
    lines = [f'Camera.type: "{kind}"', "Camera.width: 640", "Camera.height: 480", "Camera.fps: 30"]
    lines += [f"{prefix}.{n}: {v}" for n, v in zip(("fx", "fy", "cx", "cy", *names), (*FOCALS, *values), strict=True)]
    return "%YAML:1.0\n\n# ORB-SLAM3\n" + "\n".join([*lines, "ORBextractor.nFeatures: 1200"]) + "\n"


def test_orb_slams_settings(tmp_path):
    path = write(tmp_path, orb_slam("PinHole", "Camera1", ("k1", "k2", "p1", "p2"), BENT))
    lands_at(read(path), opencv(BENT))
    path = write(tmp_path, orb_slam("KannalaBrandt8", "Camera", ("k1", "k2", "k3", "k4"), EQUIDISTANT))
    lands_at(read(path), opencv_fisheye(EQUIDISTANT))


def test_camodocals_files(tmp_path):
    head = f"%YAML:1.0\n---\nmodel_type: {{}}\ncamera_name: scope\nimage_width: {WIDTH}\nimage_height: {HEIGHT}\n"
    lens = head.format("MEI") + "mirror_parameters:\n   xi: 1.2\n"
    lens += "distortion_parameters:\n   k1: 0.\n   k2: 0.\n   p1: 0.\n   p2: 0.\n"
    lens += "projection_parameters:\n   gamma1: 300.\n   gamma2: 310.\n   u0: 325.5\n   v0: 236.25\n"
    lands_at(read(write(tmp_path, lens)), mei(1.2))
    lens = head.format("KANNALA_BRANDT") + "projection_parameters:\n   k2: -0.05\n   k3: 0.01\n   k4: -0.004\n"
    lens += "   k5: 0.001\n   mu: 300.\n   mv: 310.\n   u0: 325.5\n   v0: 236.25\n"
    lands_at(read(write(tmp_path, lens)), opencv_fisheye(EQUIDISTANT))


C3VD = """; omnidirectional camera intrinsics
width = 1350
height = 1080
cx = 677.739464094188
cy = 543.057997844875
a0 = 767.733695862103
a1 = 0.0
a2 = -0.000592506426558248
a3 = -2.69440266600040e-07
a4 = -2.16380341010063e-10
c = 0.9999
d = 1.10e-4
e = -1.83e-4
"""


def test_scaramuzzas_lens_of_c3vd(tmp_path):
    lens = read_calibration(write(tmp_path, C3VD, "cam.txt"), width=1350, height=1080)
    pixels = np.array([[677.0, 543], [100, 80], [1300, 500], [700, 1000], [0, 0], [1349, 1079]])
    flat = (pixels - [677.739464094188, 543.057997844875]) @ np.linalg.inv([[0.9999, -1.83e-4], [1.10e-4, 1]]).T
    radius = np.hypot(*flat.T)
    ahead = np.polyval(
        [-2.16380341010063e-10, -2.69440266600040e-07, -0.000592506426558248, 0, 767.733695862103], radius
    )
    assert np.abs(lens.project(np.column_stack([flat, ahead]))[0] - pixels).max() < 1e-3


def test_ocamcalibs_results(tmp_path):
    content = (
        "#polynomial coefficients for the DIRECT mapping function\n\n5 -2.2e+02 0.0e+00 1.5e-03 -2.0e-06 6.0e-09\n\n"
        "#polynomial coefficients for the inverse mapping function\n\n3 300.0 200.0 10.0\n\n"
        '#center: "row" and "column", starting from 0 (C convention)\n\n236.25 325.5\n\n'
        '#affine parameters "c", "d", "e"\n\n1.001 0.0005 -0.0003\n\n#image size: "height" and "width"\n\n480 640\n'
    )
    lens = read(write(tmp_path, content, "calib_results.txt"))
    row, column = np.array([[236.0, 325], [100, 200], [400, 500], [240, 600]]).T
    # As OCamCalib's cam2world: rows, columns and backwards are its axes.
    c, d, e = 1.001, 0.0005, -0.0003
    down, right = (
        ((row - 236.25) - d * (column - 325.5)) / (c - d * e),
        (c * (column - 325.5) - e * (row - 236.25)) / (c - d * e),
    )
    back = np.polyval([6.0e-09, -2.0e-06, 1.5e-03, 0, -2.2e02], np.hypot(down, right))
    xy = lens.project(np.column_stack([right, down, -back]))[0]
    assert np.abs(xy - np.column_stack([column, row])).max() < 1e-3


def test_nerfstudios_transforms(tmp_path):
    camera = {"w": WIDTH, "h": HEIGHT, "fl_x": 300.0, "fl_y": 310.0, "cx": 326.0, "cy": 236.75}
    bent = dict(zip(("k1", "k2", "p1", "p2"), BENT, strict=True))
    frames = [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]
    lands_at(read(write(tmp_path, {"camera_model": "OPENCV", **camera, **bent, "frames": frames})), opencv(BENT))
    each = [{**frame, **camera, **bent} for frame in frames]
    lands_at(read(write(tmp_path, {"camera_model": "OPENCV", "frames": each})), opencv(BENT))
    wide = dict(zip(("k1", "k2", "k3", "k4"), EQUIDISTANT, strict=True))
    lands_at(read(write(tmp_path, {"camera_model": "OPENCV_FISHEYE", **camera, **wide})), opencv_fisheye(EQUIDISTANT))
    lens = read(write(tmp_path, {"camera_angle_x": 1.0, "w": WIDTH, "h": HEIGHT, "frames": frames}))
    assert lens.params == pytest.approx((320 / np.tan(0.5), 320 / np.tan(0.5), 320, 240))


def test_a_part_of_a_picture_of_unknown_size_has_no_centre(tmp_path):
    part = (100, 50, WIDTH, HEIGHT)
    for camera in ({"camera_angle_x": 1.0, "cx": 426.0, "cy": 286.75}, {"fl_x": 300.0}, {"fl_x": 300.0, "cx": 426.0}):
        path = write(tmp_path, camera)
        assert read(path).size == (WIDTH, HEIGHT)
        with pytest.raises(InputError, match="no size of its picture.*; expected w and h"):
            open_calibration(path, width=WIDTH, height=HEIGHT, part=part)
    whole = {"fl_x": 300.0, "fl_y": 310.0, "cx": 426.0, "cy": 286.75}
    lens = open_calibration(write(tmp_path, whole), width=WIDTH, height=HEIGHT, part=part).lens
    assert lens.params == (300, 310, 326, 236.75)
    sized = write(tmp_path, {"fl_x": 300.0, "w": 800, "h": 600})
    assert open_calibration(sized, width=WIDTH, height=HEIGHT, part=part).lens.params == (300, 300, 300, 250)


def test_colmaps_cameras(tmp_path):
    lens = Lens("OPENCV", (300.0, 310.0, 326.0, 236.75, *BENT), WIDTH, HEIGHT)
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model=lens.model, width=WIDTH, height=HEIGHT, params=list(lens.params), camera_id=7)
    model.add_camera(camera)
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    model.write_binary(str(folder))
    for place in (folder / "cameras.bin", folder, tmp_path, f"{folder / 'cameras.bin'}#7"):
        assert read(place) == lens
        lands_at(read(place), opencv(BENT))
    row = "{} OPENCV 640 480 {} 310 326 236.75 -0.3 0.1 0.001 -0.002\n"
    path = write(tmp_path, row.format(1, 300) + row.format(2, 300), "cameras.txt")
    assert read(path) == lens
    path = write(tmp_path, row.format(1, 300) + row.format(2, 400), "cameras.txt")
    with pytest.raises(InputError, match=r"2 cameras \(1, 2\)"):
        read(path)


def test_numbers_alone(tmp_path):
    place = "300,310,326,236.75"
    lands_at(read(f"{place},-0.3,0.1,0.001,-0.002"), opencv(BENT))
    lands_at(read(f"{place},-0.3,0.1,0.001,-0.002,0.02"), opencv([*BENT, 0.02]))
    np.savetxt(tmp_path / "K.txt", K)
    np.savetxt(tmp_path / "K.csv", K, delimiter=",")
    np.save(tmp_path / "K.npy", K)
    for name in ("K.txt", "K.csv", "K.npy"):
        lands_at(read(tmp_path / name), opencv([0.0] * 4))
    path = write(tmp_path, "300 310 326 236.75\n")
    lands_at(read(path), opencv([0.0] * 4))
    np.savez(tmp_path / "B.npz", mtx=K, dist=np.array([BENT]), rvecs=np.zeros((20, 3, 1)))
    lands_at(read(tmp_path / "B.npz"), opencv(BENT))
    lands_at(
        read(write(tmp_path, {"fx": 300, "fy": 310, "cx": 325.5, "cy": 236.25, "k1": -0.3, "k2": 0.1})),
        opencv([-0.3, 0.1, 0, 0]),
    )


MATRIX = K.ravel().tolist()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"camera_matrix": MATRIX, "D": BENT, "distortion_model": "wide_angle"}, "'wide_angle' is not known"),
        ({"fx": 300, "fy": 310, "cx": 1, "cy": 1, "coefficients": [0.1]}, "'coefficients' is not understood"),
        ({"fx": 300, "fy": 310, "cx": 1, "cy": 1, "model": "inverse_brown_conrady"}, "'inverse_brown_conrady' is not"),
        ({"camera_matrix": MATRIX, "D": BENT, "alpha": 0.5}, "'alpha' is not understood"),
        ({"camera_matrix": MATRIX, "D": BENT, "my_distortion": [1.0]}, "'my_distortion' is not understood"),
        ({"camera_matrix": MATRIX, "D": [0.1] * 6}, "6 distortion coefficients; expected 4, 5, 8, 12 or 14"),
        ({"camera_matrix": MATRIX, "D": [0.1] * 5, "fisheye_model": 1}, "5 coefficients of a fisheye lens"),
        ({"camera_matrix": MATRIX, "D": ["a"]}, "distortion holds 'a'; expected numbers"),
        ({"camera_matrix": MATRIX, "D": BENT, "distortion_model": "omnidir"}, "without xi"),
        ({"K": K.T.ravel().tolist(), "D": BENT}, "in the last row, as MATLAB"),
        ({"K": MATRIX, "D": BENT, "roi": {"x_offset": 8, "y_offset": 0}}, "region of interest.*--calibration-crop"),
        (ros(K=MATRIX, D=BENT, roi={"width": 320, "height": 240}), "region of interest of 320x240 at"),
        (ros(K=MATRIX, D=BENT, binning_x=1.5), "binning of 1.5 x 1; expected whole binning_x"),
        (ros(K=MATRIX, D=BENT, binning=2), "binning; expected whole binning_x"),
        (kalibr("pinhole", FOCALS, "thin_prism", [0.1]), "distortion_model 'thin_prism' of a pinhole camera"),
        (kalibr("polynomial", FOCALS), "camera_model 'polynomial' is not known"),
        (kalibr("ds", FOCALS), "4 intrinsics of model ds; expected 6"),
        (orb_slam("Fisheye624", "Camera", (), ()), "Camera.type 'Fisheye624' is not known"),
        (orb_slam("PinHole", "Camera", ("k7",), (0.1,)), "'k7' is not understood"),
        ({"fl_x": 300.0, "k4": 0.1}, "k4 of a normal lens"),
        ("model_type: SCARAMUZZA\nprojection_parameters: {a: 1}\n", "model_type 'SCARAMUZZA' is not known"),
        ("name: a\nvalue: 3\n", "it holds name, value"),
        ("1 KANNALA 640 480 1 2 3 4\n", "camera model KANNALA is not known"),
        ("1 2 3\n4 5\n", "2 lines of numbers"),
        ("{\"camera_matrix\": [1,", "not JSON that can be parsed"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(tmp_path, content, says):
    with pytest.raises(InputError, match=says):
        read(write(tmp_path, content))


def test_a_calibration_of_another_size_of_the_same_shape_is_scaled(tmp_path):
    path = write(tmp_path, "1 OPENCV 1280 960 600 620 652 473.5 -0.3 0.1 0.001 -0.002\n", "cameras.txt")
    found = open_calibration(path, width=WIDTH, height=HEIGHT)
    lands_at(found.lens, opencv(BENT))
    assert [note.code for note in found.notes] == [NoteCode.CALIBRATION_SCALED]
    assert "made for 1280x960 pixels, the frames have 640x480" in found.notes[0].text
    with pytest.raises(InputError, match="expected the same size"):
        open_calibration(path, width=WIDTH, height=HEIGHT, exact=True)


def test_a_cropped_picture_needs_to_be_told_of(tmp_path):
    path = write(tmp_path, "1 OPENCV 1920 1080 600 620 752 523.5 -0.3 0.1 0.001 -0.002\n", "cameras.txt")
    with pytest.raises(InputError, match=r"made for 1920x1080 pixels.*another shape.*--calibration-crop"):
        read(path)
    found = open_calibration(path, width=WIDTH, height=HEIGHT, part=(100, 50, 1280, 960))
    lands_at(found.lens, opencv(BENT))
    assert {note.code for note in found.notes} == {NoteCode.CALIBRATION_CROPPED, NoteCode.CALIBRATION_SCALED}
    with pytest.raises(InputError, match="--calibration-crop within them"):
        open_calibration(path, width=WIDTH, height=HEIGHT, part=(1000, 50, 1280, 960))
