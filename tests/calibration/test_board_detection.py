"""Boards found in rendered pictures."""

import cv2
import numpy as np
import pytest
from boards import BoardCamera, TrueLens, checkerboard

from dd_sfm.calibration.board import Board, parse_counts
from dd_sfm.calibration.charuco import check_dictionary
from dd_sfm.calibration.detection import BoardFinder, seen_size
from dd_sfm.calibration.views import choose_views, sharp_ones
from dd_sfm.errors import UsageError

PINHOLE = TrueLens(320, 240, (230, 230, 160, 121))
FISHEYE = TrueLens(400, 300, (122, 122, 199, 151), (-0.03, 0.006, -0.004, 0.0005), True, 147)
SIZE = (320, 240)


@pytest.fixture(scope="module")
def camera():
    return BoardCamera(PINHOLE, checkerboard((10, 7)))


def true_corners(lens, board, angles, centre):
    fx, fy, cx, cy = lens.matrix
    matrix, shift = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), np.array(centre, float)
    if lens.is_fisheye:
        seen = cv2.fisheye.projectPoints(
            board.points[:, None], np.array(angles), shift, matrix, np.array(lens.distortion)
        )[0]
    else:
        seen = cv2.projectPoints(board.points, np.array(angles), shift, matrix, np.zeros(4))[0]
    return seen.reshape(-1, 2)


def errors(found, truth):
    """Distances of corners to the nearest true ones; a plain board may be numbered from its other end."""
    return np.linalg.norm(found[:, None] - truth[None], axis=-1).min(1)


def test_corners_are_found_to_a_fraction_of_a_pixel(camera):
    board, pose = Board(9, 6), ((0.3, -0.4, 0.2), (0.5, -0.2, 11))
    found = BoardFinder(board).find(7, camera.picture(*pose))
    assert found is not None
    assert (found.frame, len(found.corners)) == (7, 54)
    assert np.sqrt((errors(found.corners, true_corners(PINHOLE, board, *pose)) ** 2).mean()) < 0.12


def test_the_squeezed_rim_of_a_wide_lens_is_found_as_well():
    board, pose = Board(9, 6), ((0.4, 0.3, 0.1), (-1.0, 0.4, 4.2))
    picture = BoardCamera(FISHEYE, checkerboard((10, 7))).picture(*pose)
    found = BoardFinder(board).find(0, picture)
    assert found is not None
    assert np.sqrt((errors(found.corners, true_corners(FISHEYE, board, *pose)) ** 2).mean()) < 0.15


def test_half_a_board_is_no_board(camera):
    assert BoardFinder(Board(9, 6)).find(0, camera.picture((0, 0, 0), (5, 0, 11))) is None


def test_blurred_views_are_left_out(camera):
    finder = BoardFinder(Board(9, 6))
    found = [
        finder.find(k, camera.picture((0.2 * k - 0.5, 0.3, 0), (0, 0, 11), blur=2.6 if k == 2 else 0.7))
        for k in range(6)
    ]  # fmt: skip
    assert None not in found
    assert [d.frame for d in sharp_ones(found)] == [0, 1, 3, 4, 5]


def test_views_that_are_alike_are_taken_once(camera):
    finder, board = BoardFinder(Board(9, 6)), Board(9, 6)
    poses = [((0.4, 0.1, 0), (0, 0, 11))] * 4 + [((-0.4, 0.3, 0), (1, 0, 12)), ((0.1, -0.5, 0), (-1, 0.3, 11))]
    found = [finder.find(k, camera.picture(*pose, seed=k)) for k, pose in enumerate(poses)]
    assert None not in found
    frames = [d.frame for d in choose_views(found, board, SIZE, 40)]
    assert len(frames) == 3
    assert frames[1:] == [4, 5]
    assert len(choose_views(found, board, SIZE, 2)) == 2
    assert choose_views([], board, SIZE, 5) == []


def test_the_size_of_a_board_is_seen(camera):
    picture = camera.picture((0.2, 0.1, 0.1), (0, 0, 11))
    assert seen_size(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) == (9, 6)
    assert seen_size(np.full((240, 320), 120, np.uint8)) is None


@pytest.mark.parametrize(("text", "counts"), [("9x6", (9, 6)), ("7X5", (7, 5)), (" 11 x 8 ", (11, 8))])
def test_counts_are_read(text, counts):
    assert parse_counts("--board", text) == counts


@pytest.mark.parametrize("text", ["9", "9x", "2x6", "9x600", "nine by six", "9x6x4"])
def test_other_counts_are_refused(text):
    with pytest.raises(UsageError, match=f"--board {text}: expected"):
        parse_counts("--board", text)


def charuco_picture(name, squares, lens, pose, is_old=False):
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    board = cv2.aruco.CharucoBoard(squares, 1.0, 0.75, dictionary)
    board.setLegacyPattern(is_old)
    image = board.generateImage((squares[0] * 40, squares[1] * 40))
    return BoardCamera(lens, np.pad(image, 40, constant_values=255), 40).picture(*pose)


@pytest.mark.parametrize("is_old", [False, True])
def test_charuco_boards_are_found_in_part_and_without_their_dictionary(is_old):
    board, lens = Board(6, 5, is_charuco=True), TrueLens(480, 360, (340, 340, 240, 180))
    pose = ((0.3, -0.2, 0.1), (1.8, 0.3, 7))
    finder = BoardFinder(board)
    found = finder.find(0, charuco_picture("DICT_5X5_100", (7, 6), lens, pose, is_old))
    assert found is not None
    assert 12 <= len(found.ids) < 30
    assert finder.dictionary == "DICT_5X5_50"
    truth = true_corners(lens, board, *pose)[found.ids]
    assert np.sqrt(((found.corners - truth) ** 2).sum(1).mean()) < 0.2


def test_dictionaries_are_named_in_short():
    assert check_dictionary("5x5_100") == "DICT_5X5_100"
    assert check_dictionary("DICT_APRILTAG_36h11") == "DICT_APRILTAG_36h11"
    with pytest.raises(UsageError, match="--dictionary 9x9: unknown; expected one of DICT_4X4_100, "):
        check_dictionary("9x9")
