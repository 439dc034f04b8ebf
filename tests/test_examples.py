"""The code on the page about Python, and the examples, run as they stand."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from process_state import process_state

from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.images import read_image

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
FIRST = "Describe and match images"


def blocks():
    """The code of the page: heading of its section, line, text."""
    found, heading, text = [], "", PAGE.read_text()
    for match in re.finditer(r"^## (.*?)$|^```python\n(.*?)^```", text, re.S | re.M):
        heading = match[1] or heading
        if match[2]:
            found.append((heading, text[: match.start()].count("\n") + 1, match[2]))
    return found


def run_blocks(chosen):
    """Run blocks one after another, each with what those before it have made."""
    names = {"__name__": "page"}
    for _, line, code in chosen:
        # Padded, so that an error names the line of the page.
        exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def beside_the_demo(tmp_path, monkeypatch):
    """A folder to work in, with the demo clips."""
    (tmp_path / "demo_videos").symlink_to(ROOT / "demo_videos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_on_matching_runs(beside_the_demo, capsys):
    before = process_state()
    names = run_blocks([block for block in blocks() if block[0] == FIRST])
    assert len(names["matches"]) > 3000
    assert names["found"].query.tolist() == [0, 1]
    assert "matches" in capsys.readouterr().out
    assert process_state() == before


@pytest.mark.slow
def test_the_whole_page_runs(beside_the_demo, capsys):
    before = process_state()
    names = run_blocks(blocks())
    assert process_state() == before
    run = names["run"]
    assert len(run.poses) == 12
    assert len(run.points) > 300
    assert len(read_cloud(beside_the_demo / "sure.ply")) == len(names["sure"]) > 50
    assert names["position"] < 0.05
    assert 0 < np.median(names["error"]) < 1.0
    assert "densify: done before" in capsys.readouterr().out


def run_example(name, argument, monkeypatch):
    path = ROOT / "examples" / name
    monkeypatch.setattr(sys, "argv", [str(path), str(argument)])
    names = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return names


def test_the_example_of_matching_draws_a_picture(tmp_path, monkeypatch, capsys):
    names = run_example("match_two_frames.py", tmp_path / "matches.png", monkeypatch)
    picture = read_image(tmp_path / "matches.png")
    assert picture.shape[1] > 3 * picture.shape[0] > 300
    # Pictures in both halves, not paper alone.
    middle = picture.shape[1] // 2
    assert picture[:, :middle].std() > 40
    assert picture[:, middle:].std() > 40
    assert len(names["matches"]) > 3000
    assert "matches that moved by" in capsys.readouterr().out


@pytest.mark.slow
def test_the_example_of_reconstructing_keeps_the_better_half(tmp_path, monkeypatch):
    names = run_example("reconstruct_and_filter.py", tmp_path, monkeypatch)
    points, sure = names["points"], read_cloud(tmp_path / "sure.ply")
    assert len(sure) == len(names["sure"])
    assert 0.4 < len(sure) / len(points) < 0.6
    error, better, known = names["evaluation"].error, names["better"], names["known"]
    assert np.median(error[better]) < np.median(error[known]) < 1.0
