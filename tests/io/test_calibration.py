import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.calibration import read_calibration
from dd_sfm.io.lens import Lens

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
    assert read("500,510,320,240") == Lens("PINHOLE", (500, 510, 320, 240), 640, 480)


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
    assert read(path) == Lens("OPENCV_FISHEYE", (500, 500, 320, 240, 0.1, 0.01, 0, 0), 640, 480)


def test_colmap_cameras_txt(tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("# comment\n1 OPENCV 640 480 500 510 320 240 -0.1 0.01 0 0\n")
    assert read(path) == Lens("OPENCV", (500, 510, 320, 240, -0.1, 0.01, 0, 0), 640, 480)


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
        ("1,2,3", "3 numbers; expected fx,fy,cx,cy, and"),
        ("-5,500,320,240", "do not fit"),
        ("500,500,700,240", "do not fit"),
        ("nothing.yaml", "nothing.yaml: not found; expected "),
        ("colmap/sparse", "colmap/sparse: not found; expected "),
        ("nothing.xml#2", "nothing.xml#2: not found; expected "),
        ("about 300.5", "about 300.5: neither numbers nor a readable file"),
        ("500", "500: neither numbers nor a readable file"),
    ],
)
def test_refused_texts(text, says):
    with pytest.raises(InputError, match=says):
        read(text)


def test_refused_files(tmp_path):
    path = tmp_path / "x.txt"
    for content, says in (
        ("", "an empty file; expected"),
        ("hello world", "a text file that begins 'hello world', which is no calibration"),
        (
            "# Read me\n\nnote: see: docs",
            "begins '# Read me', which is no calibration; .* calibrate makes one",
        ),
        ("1 OPENCV 640 480 500 510 320", "1 parameters|3 parameters"),
        ("1 PINHOLE 1280 940 500 500 640 480", "made for 1280x940 pixels, the frames have 640x480, another shape"),
        ("%YAML:1.0\ncamera_matrix: [1, 2", "not YAML that can be parsed"),
        ("camera_matrix: [1, 2]", "camera_matrix has 2 numbers; expected 9"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=says):
            read(path)
    path = tmp_path / "x.yaml"
    path.write_text("camera_matrix: [1, 2")
    with pytest.raises(InputError, match="not YAML that can be parsed"):
        read(path)
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read(path)
