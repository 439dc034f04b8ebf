"""``dd-sfm calibrate`` from pictures of a board to a file that ``--calibration`` reads."""

import json

import cv2
import numpy as np
import pytest
from boards import BoardCamera, TrueLens, checkerboard

from dd_sfm import api as dd_sfm_api
from dd_sfm.io.calibration import read_calibration

LENS = TrueLens(320, 240, (150, 149, 161, 118), (-0.2, 0.05))
POSES = (
    ((0.4, 0.1, 0.1), (0, 0, 7)), ((-0.4, 0.2, 0), (0.8, 0.4, 7)), ((0.1, 0.5, 0.3), (-0.8, -0.3, 7.4)),
    ((0.2, -0.5, -0.2), (0.5, -0.5, 7)), ((-0.3, -0.3, 0.1), (-0.6, 0.5, 6.8)), ((0, 0, 0), (0, 0, 6)),
)  # fmt: skip


@pytest.fixture(scope="module")
def board_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    camera = BoardCamera(LENS, checkerboard((10, 7)))
    for k, pose in enumerate(POSES):
        cv2.imwrite(str(folder / f"{k}.png"), camera.picture(*pose, seed=k))
    return folder


def test_a_folder_of_pictures_becomes_a_calibration(dd_sfm, board_folder, tmp_path):
    out, figures = tmp_path / "scope.yaml", tmp_path / "scope.json"
    command = ("calibrate", board_folder, "-o", out, "--board", "9x6", "--json", figures, "--square-mm", "2.5")
    ran = dd_sfm(*command)
    assert ran.code == 0, ran.err
    assert "6 searched, 6 with the board; 6 fitted" in ran.out
    assert "usable: 6 different views of the board" in " ".join(ran.out.split())
    pictures = [tmp_path / f"scope_{name}.png" for name in ("residuals", "coverage", "undistorted")]
    assert all(cv2.imread(str(path)) is not None for path in pictures)
    assert ran.err.splitlines()[:2] == [
        f"searching {board_folder.name} for the board ...",
        "board found in 6 of 6 frames; fitting lenses to 6 views ...",
    ]
    assert ran.err.splitlines()[-1] == f"written: {', '.join(map(str, [out, *pictures, figures]))}"
    found = json.loads(figures.read_text())
    truth = dict(
        zip(("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"), (*LENS.matrix, *LENS.distortion, 0, 0), strict=True)
    )
    assert found["model"] == "OPENCV"
    assert found["frames"]["chosen"] == 6
    for name, value in truth.items():
        assert abs(found["params"][name] - value) < 3.5 * found["standard_deviations"][name], name
    again = dd_sfm(*command)
    assert (again.code, again.err) == (1, f"dd-sfm: {out}: exists; expected a new file. Replace it with --overwrite\n")
    assert dd_sfm(*command, "--overwrite", "--quiet").err == ""


@pytest.mark.parametrize("model", ["pinhole", "fisheye"])
def test_what_is_written_is_read_back(board_folder, tmp_path, model):
    found = dd_sfm_api.calibrate(board_folder, dd_sfm_api.Board(9, 6), model=model)
    (tmp_path / "scope.yml").write_text(found.yaml())
    read = read_calibration(str(tmp_path / "scope.yml"), width=320, height=240)
    params = list(found.params.values())
    params[2:4] = (v + 0.5 for v in params[2:4])
    assert read.model == ("OPENCV_FISHEYE" if model == "fisheye" else "OPENCV")
    assert read.params == pytest.approx(params, rel=1e-12, abs=1e-12)
    assert (read.width, read.height) == (320, 240)
    storage = cv2.FileStorage(str(tmp_path / "scope.yml"), cv2.FILE_STORAGE_READ)
    assert storage.getNode("camera_matrix").mat()[0, 0] == found.params["fx"]
    assert storage.getNode("fisheye_model").real() == (model == "fisheye")
    assert found.yaml().startswith("%YAML:1.0\n")


@pytest.fixture
def refused(dd_sfm, tmp_path):
    def call(source, *options, code=1):
        ran = dd_sfm("calibrate", source, "-o", tmp_path / "scope.yaml", *options)
        assert ran.code == code, ran.err
        assert list(tmp_path.glob("scope*")) == []
        *before, line = ran.err.splitlines()
        assert all(text.endswith(" ...") for text in before)
        return line

    return call


def test_pictures_of_the_result_do_not_come_among_those_of_the_board(dd_sfm, board_folder, monkeypatch):
    before = sorted(board_folder.iterdir())
    monkeypatch.chdir(board_folder)
    for source, out in ((board_folder, board_folder / "scope.yaml"), (".", "scope.yaml")):
        ran = dd_sfm("calibrate", source, "-o", out, "--board", "9x6", "--overwrite")
        assert ran.code == 1
        assert f"-o {out}: lies in the folder of the board's pictures, where scope_residuals.png" in ran.err
    assert sorted(board_folder.iterdir()) == before


def test_another_size_of_board_is_suggested(refused, board_folder):
    line = refused(board_folder, "--board", "10x7")
    assert "checkerboard of 10x7 inner corners found in 0 of 6 frames searched (6 read)" in line
    assert "expected 3 different views at least" in line
    assert line.endswith("frames: try --board 9x6")


def test_no_board_at_all(refused, tiny_clip):
    line = refused(tiny_clip, "--board", "9x6")
    assert "found in 0 of 12 frames searched" in line
    assert "--board counts inner corners: 10x7 squares are 9x6" in line


def test_one_view_or_one_view_over_and_over(refused, board_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    picture = cv2.imread(str(board_folder / "0.png"))
    cv2.imwrite(str(folder / "0.png"), picture)
    assert "found in 1 of 1 frames searched" in refused(folder, "--board", "9x6")
    for k in range(1, 5):
        cv2.imwrite(str(folder / f"{k}.png"), picture)
    line = refused(folder, "--board", "9x6")
    assert "found in 5 of 5 frames searched (5 read), 1 of them different" in line
    assert line.endswith("They are all alike: move and tilt the board, or the scope, between views")


def test_markers_are_told_from_a_plain_board(refused, board_folder, tmp_path_factory):
    assert "is it a plain checkerboard (leave out --charuco)?" in refused(board_folder, "--board", "9x6", "--charuco")
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_6X6_250)
    image = cv2.aruco.CharucoBoard((7, 5), 1.0, 0.75, dictionary).generateImage((420, 300))
    folder = tmp_path_factory.mktemp("charuco")
    for k in range(2):
        cv2.imwrite(str(folder / f"{k}.png"), np.pad(image, 30, constant_values=255))
    line = refused(folder, "--board", "6x4")
    assert "Markers of DICT_6X6_50 are seen: add --charuco" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--board: missing; expected the board's inner corners"),
        (("--board", "9x6", "--squares", "10x7"), "--board and --squares: both given"),
        (("--board", "nine"), "--board nine: expected two numbers, such as 9x6"),
        (("--board", "9x6", "--dictionary", "5x5_50"), "without --charuco"),
        (("--board", "9x6", "--charuco", "--dictionary", "9x9"), "--dictionary 9x9: unknown"),
        (("--board", "9x6", "--charuco", "--marker-mm", "3"), "expected --square-mm as well"),
        (("--board", "9x6", "--model", "omni"), "--model omni: unknown; expected auto, fisheye, pinhole"),
    ],
)
def test_options_that_contradict_each_other(refused, board_folder, options, says):
    assert says in refused(board_folder, *options, code=2)
