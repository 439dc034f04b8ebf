import cv2
import numpy as np
import pytest

from dd_sfm.io.lens import Lens
from dd_sfm.io.undistortion import undistortion


def test_no_distortion_needs_no_map():
    undone = undistortion(Lens("PINHOLE", (500, 510, 320, 240), 640, 480))
    assert undone.map_xy is None
    assert (undone.camera.cx, undone.camera.cy) == (319.5, 239.5)


def test_undistortion_agrees_with_opencv():
    lens = Lens("OPENCV", (500, 510, 320, 240, -0.3, 0.1, 0.001, 0.002), 640, 480)
    undone = undistortion(lens)
    matrix = np.array([[500, 0, 319.5], [0, 510, 239.5], [0, 0, 1.0]])
    expected = cv2.initUndistortRectifyMap(
        matrix, np.array([-0.3, 0.1, 0.001, 0.002]), None, matrix, (640, 480), cv2.CV_32FC2
    )[0]
    assert np.abs(undone.map_xy - expected).max() < 0.01
    assert undone.to_source(np.array([[100.0, 50.0]]))[0] == pytest.approx(undone.map_xy[50, 100], abs=1e-3)


def test_straight_lines_become_straight():
    lens = Lens("OPENCV", (500, 510, 320, 240, -0.3, 0.1, 0, 0), 640, 480)
    line = np.column_stack([np.linspace(40, 600, 50), np.full(50, 60.0)])
    undone = undistortion(lens)
    bent = undone.to_source(line)
    assert np.ptp(bent[:, 1]) > 3
    picture = np.zeros((480, 640), np.uint8)
    for x, y in np.round(bent).astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    rows = np.argwhere(undone.apply(picture) > 128)[:, 0]
    assert np.ptp(rows) <= 4
