"""Calibrations that are numbers alone: a matrix written row by row is told from focal lengths and coefficients."""

import json

import cv2
import numpy as np
import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.calibration import read_calibration

K = np.array([[300.0, 0, 325.5], [0, 310.0, 236.25], [0, 0, 1]])
RAYS = np.array([[0, 0, 1], [0.3, 0.2, 1], [-0.5, 0.4, 1], [0.6, -0.5, 1], [-0.7, -0.3, 1.0]])


def read(text):
    return read_calibration(str(text), width=640, height=480)


def lands_at(lens, expected):
    assert np.abs(lens.project(RAYS)[0] - expected).max() < 1e-3


def bent(coefficients):
    return cv2.projectPoints(RAYS[:, None], np.zeros(3), np.zeros(3), K, np.array(coefficients, float))[0][:, 0]


PLAIN = bent([0.0] * 4)


def test_a_matrix_is_known_row_by_row(tmp_path):
    def write(content):
        path = tmp_path / "scope.txt"
        path.write_text(content)
        return path

    flat = ",".join(map(str, K.ravel()))
    wide = ",".join(map(str, np.hstack([K, np.zeros((3, 1))]).ravel()))
    as_list = json.dumps(K.tolist())
    lines = [flat, wide, as_list]
    for text in lines:
        lands_at(read(text), PLAIN)
        lands_at(read(write(f"{text}\n")), PLAIN)
    lands_at(read(write(flat.replace(",", " "))), PLAIN)
    lands_at(read(write(flat.replace(",", "\n"))), PLAIN)
    skewed = K.copy()
    skewed[0, 1] = 2.0
    lands_at(read(",".join(map(str, skewed.ravel()))), PLAIN + RAYS[:, 1:2] * [2.0, 0])
    # A last coefficient of 1 makes no matrix of numbers.
    place = "300,310,326,236.75"
    lands_at(read(f"{place},-0.3,0.1,0,0,1"), bent([-0.3, 0.1, 0, 0, 1]))
    lands_at(read(f"{place},0,0.1,0,0,0,0.01,0,0"), bent([0, 0.1, 0, 0, 0, 0.01, 0, 0]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",".join(map(str, K.T.ravel())), "in the last row, as MATLAB"),
        ("300,0,325.5,-20,0,310,236.25,0,0,0,1,0", "fourth column is not 0"),
        ("300,0,325.5,0,310,236.25,0,0,2", "focal 300, 0 and centre"),
        ("300,0,325.5,0,310,236.25", "6 numbers; expected fx,fy,cx,cy, .* or the matrix fx,0,cx,0,fy,cy,0,0,1"),
    ],
)
def test_numbers_that_are_no_camera_are_refused(text, says):
    with pytest.raises(InputError, match=says):
        read(text)
