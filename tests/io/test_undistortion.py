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
        matrix, np.array([-0.3, 0.1, 0.001, 0.002]), None, undone.camera.matrix, undone.camera.size, cv2.CV_32FC2
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


def disc(width, height, radius):
    row, column = np.mgrid[:height, :width]
    return np.hypot(column - (width - 1) / 2, row - (height - 1) / 2) < radius


def test_a_lens_that_bends_little_keeps_the_size_of_its_frames():
    lens = Lens("OPENCV", (700, 710, 320, 240, -0.05, 0, 0, 0), 640, 480)
    assert undistortion(lens).camera == lens.pinhole
    # What is outside the field need not be kept.
    lens = Lens("OPENCV", (500, 510, 320, 240, -0.3, 0.1, 0, 0), 640, 480)
    assert undistortion(lens).camera.size != (640, 480)
    assert undistortion(lens, disc(640, 480, 100)).camera == lens.pinhole


@pytest.mark.parametrize("full_deg", [100, 120, 140])
@pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "THIN_PRISM_FISHEYE", "EUCM"])
def test_wide_fields_are_kept_up_to_140_degrees(model, full_deg):
    half = np.radians(full_deg / 2)
    focal = 240 * (0.6 + 0.4 * np.cos(half)) / np.sin(half) if model == "EUCM" else 240 / half
    extra = (0.6, 1.0) if model == "EUCM" else (0.0,) * (4 if model == "OPENCV_FISHEYE" else 8)
    lens, field = Lens(model, (focal, focal, 320, 240, *extra), 640, 480), disc(640, 480, 240)
    undone = undistortion(lens, field)
    kept, seen = undone.shares(field)
    assert kept >= 0.95
    assert seen > 0.99
    assert undone.camera.width * undone.camera.height <= 2.1 * 640 * 480
    assert 0.6 < undone.scale <= 1
    # All pixels, not a sample: what of the field comes back from the undistorted frame's mask.
    places = lens.project(undone.camera.unproject(np.argwhere(undone.apply_to_mask(field))[:, ::-1]))
    reached = np.zeros_like(field)
    reached[tuple(np.round(places[0]).astype(int).T[::-1].clip(0, [[479], [639]]))] = True
    assert (cv2.dilate(reached.astype(np.uint8), np.ones((5, 5))) > 0)[field].mean() >= 0.95


def test_a_wider_field_is_kept_to_70_degrees():
    lens, field = Lens("FISHEYE", (*(240 / np.radians(85),) * 2, 320, 240), 640, 480), disc(640, 480, 240)
    kept, _ = undistortion(lens, field).shares(field)
    assert kept == pytest.approx((70 / 85) ** 2, abs=0.05)


def test_no_pixel_shows_what_lies_beyond_the_turn():
    lens = Lens("SIMPLE_RADIAL", (300, 320, 240, -0.35), 640, 480)
    undone = undistortion(lens)
    shown = undone.apply(np.full((480, 640), 255, np.uint8)) > 0
    rows, columns = np.nonzero(shown)
    away = np.hypot(columns - undone.camera.cx, rows - undone.camera.cy) / undone.camera.fx
    assert away.max() == pytest.approx(np.sqrt(1 / 1.05), abs=0.01)
