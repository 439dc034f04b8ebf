"""What the pages in docs/ tell people to type."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dd_sfm.io.calibration import read_calibration

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT, FOCAL, CENTRE = 640, 480, 500.0, (330.0, 235.0)


def board_seen_from(angles, shift):
    """A picture of a checkerboard of 10 x 7 squares of 40 px through a pinhole camera (pixel centres at integers)."""
    squares = np.indices((9, 12)).sum(0) % 2
    squares[[0, -1], :] = squares[:, [0, -1]] = 1
    flat = cv2.resize(np.uint8(255 * squares), None, fx=40, fy=40, interpolation=cv2.INTER_NEAREST)
    rotation = cv2.Rodrigues(np.array(angles))[0]
    # From pixels of the flat board to squares around its middle, then into the picture.
    to_board = np.array([[1 / 40, 0, -6.0], [0, 1 / 40, -4.5], [0, 0, 1]])
    pose = np.column_stack([rotation[:, :2], shift])
    camera = np.array([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])
    return cv2.warpPerspective(
        flat, camera @ pose @ to_board, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=255
    )  # fmt: skip


def test_the_checkerboard_script_finds_the_camera(tmp_path):
    (tmp_path / "board").mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        angles, shift = rng.uniform(-0.6, 0.6, 3), [*rng.uniform(-1.5, 1.5, 2), rng.uniform(13, 17)]
        picture = cv2.GaussianBlur(board_seen_from(angles, shift), (0, 0), 0.8)
        cv2.imwrite(str(tmp_path / "board" / f"{k}.png"), picture)
    (script,) = re.findall(r"```python\n(.*?)```", (DOCS / "calibrate.md").read_text(), re.S)
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = read_calibration(str(tmp_path / "nose.yaml"), width=WIDTH, height=HEIGHT)
    # COLMAP's pixels begin half a pixel earlier.
    expected = (FOCAL, FOCAL, CENTRE[0] + 0.5, CENTRE[1] + 0.5)
    assert found.focal_and_centre == pytest.approx(expected, abs=4)


def test_pages_name_files_that_are_there():
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+?)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
