import numpy as np
import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.calibration import Calibration, read_calibration
from dd_sfm.io.colmap_camera import distort, undistortion

OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 319.5, 0., 510., 239.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.3, 0.1, 0.001, 0.002, -0.02 ]
"""
ROS = """image_width: 640
image_height: 480
camera_name: scope
distortion_model: equidistant
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 319.5, 0, 500, 239.5, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 4, data: [0.1, 0.01, 0.0, 0.0]}
"""


def read(text):
    return read_calibration(str(text), width=640, height=480)


def test_four_numbers():
    assert read("500,510,320,240") == Calibration("PINHOLE", (500, 510, 320, 240), 640, 480)


def test_opencv_file_storage(tmp_path):
    path = tmp_path / "scope.yaml"
    path.write_text(OPENCV)
    found = read(path)
    assert found.model == "FULL_OPENCV"
    # OpenCV has pixel centres at integers, COLMAP at a half.
    assert found.params[:4] == (500, 510, 320, 240)
    assert found.params[4:] == (-0.3, 0.1, 0.001, 0.002, -0.02, 0, 0, 0)


def test_ros_camera_info_with_a_fisheye_lens(tmp_path):
    path = tmp_path / "scope.yaml"
    path.write_text(ROS)
    assert read(path) == Calibration("OPENCV_FISHEYE", (500, 500, 320, 240, 0.1, 0.01, 0, 0), 640, 480)


def test_colmap_cameras_txt(tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("# comment\n1 OPENCV 640 480 500 510 320 240 -0.1 0.01 0 0\n")
    assert read(path) == Calibration("OPENCV", (500, 510, 320, 240, -0.1, 0.01, 0, 0), 640, 480)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500\n320\n240\n" * 3, (500, 500, 320, 240)), ("500\n510\n320\n240\n" * 3, (500, 510, 320, 240))],
)
def test_jhu_intrinsics(tmp_path, text, expected):
    path = tmp_path / "camera_intrinsics_per_view"
    path.write_text(text)
    assert read(path).params == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2,3", "3 numbers; expected fx,fy,cx,cy"),
        ("-5,500,320,240", "do not fit"),
        ("500,500,700,240", "do not fit"),
        ("nothing.yaml", "neither four numbers nor a readable file"),
    ],
)
def test_refused_texts(text, says):
    with pytest.raises(InputError, match=says):
        read(text)


def test_refused_files(tmp_path):
    path = tmp_path / "x.txt"
    for content, says in (
        ("hello world", "not a calibration that can be parsed"),
        ("1 OPENCV 640 480 500 510 320", "1 parameters|3 parameters"),
        ("1 PINHOLE 1280 960 500 500 640 480", "made for 1280x960 pixels; expected 640x480"),
        ("camera_matrix: [1, 2", "not an OpenCV YAML"),
        ("camera_matrix: [1, 2]", "camera_matrix has 2 numbers; expected 9"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=says):
            read(path)


def test_no_distortion_needs_no_map():
    lens = undistortion(Calibration("PINHOLE", (500, 510, 320, 240), 640, 480))
    assert lens.map_xy is None
    assert (lens.camera.cx, lens.camera.cy) == (319.5, 239.5)


def test_undistortion_agrees_with_opencv():
    import cv2

    calibration = Calibration("OPENCV", (500, 510, 320, 240, -0.3, 0.1, 0.001, 0.002), 640, 480)
    lens = undistortion(calibration)
    matrix = np.array([[500, 0, 319.5], [0, 510, 239.5], [0, 0, 1.0]])
    expected = cv2.initUndistortRectifyMap(
        matrix, np.array([-0.3, 0.1, 0.001, 0.002]), None, matrix, (640, 480), cv2.CV_32FC2
    )[0]
    assert np.abs(lens.map_xy - expected).max() < 0.01
    assert distort(calibration, np.array([[100.0, 50.0]]))[0] == pytest.approx(lens.map_xy[50, 100], abs=1e-3)


def test_straight_lines_become_straight():
    calibration = Calibration("OPENCV", (500, 510, 320, 240, -0.3, 0.1, 0, 0), 640, 480)
    line = np.column_stack([np.linspace(40, 600, 50), np.full(50, 60.0)])
    bent = distort(calibration, line)
    assert np.ptp(bent[:, 1]) > 3
    lens = undistortion(calibration)
    picture = np.zeros((480, 640), np.uint8)
    for x, y in np.round(bent).astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    rows = np.argwhere(lens.apply(picture) > 128)[:, 0]
    assert np.ptp(rows) <= 4
