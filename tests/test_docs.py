"""What the pages in docs/ tell people to type."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

import dd_sfm as package
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


def test_the_command_for_a_checkerboard_finds_the_camera(dd_sfm, tmp_path, monkeypatch):
    (tmp_path / "board").mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        angles, shift = rng.uniform(-0.6, 0.6, 3), [*rng.uniform(-1.5, 1.5, 2), rng.uniform(13, 17)]
        picture = cv2.GaussianBlur(board_seen_from(angles, shift), (0, 0), 0.8)
        cv2.imwrite(str(tmp_path / "board" / f"{k}.png"), picture)
    (command,) = re.findall(r"^dd-sfm (calibrate board.mp4.*)$", (DOCS / "calibrate.md").read_text(), re.M)
    monkeypatch.chdir(tmp_path)
    ran = dd_sfm(*command.replace("board.mp4", "board").split())
    assert ran.code == 0, ran.err
    found = read_calibration("scope.yaml", width=WIDTH, height=HEIGHT)
    # COLMAP's pixels begin half a pixel earlier.
    expected = (FOCAL, FOCAL, CENTRE[0] + 0.5, CENTRE[1] + 0.5)
    assert found.params[:4] == pytest.approx(expected, abs=4)


def test_the_lines_that_draw_a_checkerboard_draw_one(tmp_path, monkeypatch):
    (script,) = re.findall(r"```python\n(.*?)```", (DOCS / "calibrate.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    board = cv2.imread("board.png", cv2.IMREAD_GRAYSCALE)
    assert cv2.findChessboardCornersSB(board, (9, 6))[0]
    assert 10 * 100 / Image.open("board.png").info["dpi"][0] * 25.4 == pytest.approx(25, abs=0.01)


def pages():
    folders = (DOCS.parent, DOCS, DOCS.parent / "models", DOCS.parent / "demo_videos")
    return sorted(page for folder in folders for page in [*folder.glob("*.md"), *folder.glob("*/README.md")])


def prose(page):
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)


def anchors(page):
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_pages_are_looked_at():
    names = {page.relative_to(DOCS.parent).as_posix() for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/results.md", "models/compact/README.md"} <= names


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_pages_name_files_and_headings_that_are_there(page):
    for link in re.findall(r"\]\(([^)]+?)\)", prose(page)):
        if link.startswith("http"):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_pages_name_modules_that_are_there(page):
    for path in re.findall(r"`((?:dd_sfm|tests|configs|models|demo_videos|docs)/[\w./-]+\.\w+)`", prose(page)):
        assert (DOCS.parent / path).exists(), path


def test_design_notes_name_modules_that_are_there():
    named = re.findall(r"\(`([\w/]+\.py)`\)", (DOCS / "design-notes.md").read_text())
    assert len(named) > 5
    for path in named:
        assert (DOCS.parent / "dd_sfm" / path).exists(), path


def test_the_walk_from_frames_to_points_names_what_is_there():
    rows = re.findall(r"^\| (\d+) \| `(.*?)` \| `(\w+)` \|", (DOCS.parent / "CONTRIBUTING.md").read_text(), re.M)
    assert [int(number) for number, _, _ in rows] == list(range(1, 18))
    for _, path, name in rows:
        assert re.search(rf"^(def |class |){name}\b", (DOCS.parent / path).read_text(), re.M), f"{path}: {name}"


def test_one_command_sets_up_and_runs_and_one_tests():
    lines = [
        line for line in (DOCS.parent / "README.md").read_text().splitlines() if line.startswith("python3 -m venv")
    ]
    assert ["reconstruct demo_videos" in line for line in lines] == [True, False]
    assert ["-m pytest" in line for line in lines] == [False, True]


def test_one_version_is_told_everywhere():
    citation = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text())
    assert citation["version"] == citation["preferred-citation"]["version"] == package.__version__
    newest = re.search(r"^## \[(.*?)\]", (DOCS.parent / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert newest[1] == package.__version__
