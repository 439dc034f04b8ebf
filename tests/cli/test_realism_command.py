"""dd-sfm evaluate realism: its table, its sheet, and what it refuses."""

import dataclasses

import cv2
import numpy as np
import pytest
from conftest import moving_frames, write_video

from dd_sfm.cli.evaluation_tables import realism_table
from dd_sfm.evaluation.realism import PictureStatistics


@pytest.fixture
def clip(tmp_path):
    """The folder of a rendered clip, twelve frames."""
    folder = tmp_path / "organ"
    folder.mkdir()
    write_video(tmp_path / "organ.avi", moving_frames()).rename(folder / "clip.mp4")
    (folder / "scene.yaml").write_text("organ: colon\ndifficulty: hard\n")
    return folder


def test_a_clip_is_as_real_as_itself(dd_sfm, clip, tiny_clip, tmp_path):
    sheet = tmp_path / "sheet.png"
    ran = dd_sfm("evaluate", "realism", clip, "--real", tiny_clip, "--sheet", sheet)
    assert ran.code == 0, ran.err
    assert "weak keypoints" in ran.out
    rows = [line.split("│")[1:-1] for line in ran.out.splitlines() if line.startswith("│")]
    assert len(rows) == 10
    assert {row[3].strip() for row in rows} == {"1.00"}
    # Three frames of two clips; the field of view is as wide as it is high.
    height, width = cv2.imread(str(sheet)).shape[:2]
    assert height == 2 * 160 + 3
    assert width == pytest.approx(3 * 160 + 2 * 3, abs=9)


def test_without_a_real_clip_there_are_no_ratios(dd_sfm, clip):
    ran = dd_sfm("evaluate", "realism", clip)
    assert ran.code == 0, ran.err
    assert "ratio" not in ran.out
    assert "gradient p90" in ran.out


def test_names_that_look_like_markup_are_shown(capsys):
    figures = PictureStatistics(*[1.0] * len(dataclasses.fields(PictureStatistics)))
    ratios = dict.fromkeys(dataclasses.asdict(figures), 1.0)
    realism_table([("[real]", figures)], [("[bold]", figures, ratios)])
    shown = capsys.readouterr().out
    assert "[real]" in shown
    assert "[bold]" in shown


def test_what_cannot_be_compared_is_one_line(dd_sfm, clip, tiny_clip, tmp_path):
    short = write_video(tmp_path / "short.avi", moving_frames(5))
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    for arguments, code, says in (
        ((short,), 1, "short.avi: fewer than 6 frames"),
        ((tmp_path / "none",), 1, "none: not found"),
        ((clip, "--real", tmp_path / "none.mp4"), 1, "none.mp4: not found"),
        ((clip, "--sheet", tmp_path / "sheet.jpg"), 2, "expected a file name that ends in .png"),
        ((clip, "--sheet", mine), 1, "mine.png: exists"),
        ((clip, "--sheet", tmp_path / "no" / "sheet.png"), 1, "cannot be written"),
    ):
        ran = dd_sfm("evaluate", "realism", *arguments)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert (ran.code, len(lines)) == (code, 1), ran.err
        assert says in lines[0]
    assert mine.read_bytes() == b"mine"


def test_the_sheet_can_be_replaced(dd_sfm, clip, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"earlier")
    assert dd_sfm("evaluate", "realism", clip, "--sheet", sheet, "--overwrite").code == 0
    assert np.ptp(cv2.imread(str(sheet))) > 100
