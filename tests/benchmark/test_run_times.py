"""Seconds of the stages of runs against their frames."""

import json

import cv2
import numpy as np
import pytest

from dd_sfm.benchmark.run_times import RunTimes, exponents, read_run_times, run_times_json, run_times_table
from dd_sfm.errors import InputError
from dd_sfm.viz.render.evaluation_plots import write_figure
from dd_sfm.viz.render.stage_times import stage_times_figure


def times(frames, name="run"):
    seconds = {"match": 0.5 * frames, "map": 0.01 * frames**2, "skipped": 0.0}
    return RunTimes(name, frames, {**seconds, "total": sum(seconds.values())})


def write_run(folder, metrics):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_exponents_are_those_of_the_powers():
    found = exponents([times(50), times(100), times(190)])
    assert found["match"] == pytest.approx(1)
    assert found["map"] == pytest.approx(2)
    assert 1 < found["total"] < 2
    assert "skipped" not in found


def test_runs_of_one_length_have_no_exponents():
    assert exponents([times(50), times(50)]) == {}
    assert exponents([]) == {}
    assert run_times_json([times(50)])["exponents"] == {}


def test_metrics_are_read_and_shown(tmp_path):
    seconds = {"match": 2.0, "total": 2.0}
    runs = read_run_times([write_run(tmp_path / "a", {"frames_used": 35, "seconds": seconds})])
    assert runs == [RunTimes(str(tmp_path / "a"), 35, seconds)]
    lines = run_times_table([*runs, times(100)])
    assert len(lines) == 4
    assert lines[0].split() == ["frames", "match", "total", "map", "skipped"]
    assert lines[-1].startswith("exponent of frames")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="metrics.json: missing"):
        read_run_times([tmp_path])
    with pytest.raises(InputError, match="no seconds of its stages"):
        read_run_times([write_run(tmp_path / "b", {"frames_used": 35})])


def test_a_run_whose_name_is_no_text_is_drawn(tmp_path):
    odd = write_run(tmp_path / "\udce4", {"frames_used": 2, "seconds": {"total": 1.0}})
    write_figure(tmp_path / "odd.png", stage_times_figure(read_run_times([odd])))
    assert cv2.imread(str(tmp_path / "odd.png")) is not None


@pytest.mark.parametrize("frames", [(50, 50), (50, 100)])
def test_a_picture_of_bars_and_growth(tmp_path, frames):
    runs = [times(count, f"runs/{k}") for k, count in enumerate(frames)]
    figure = stage_times_figure(runs)
    assert len(figure.axes) == len(set(frames))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"{k}, {n} frames" for k, n in enumerate(frames)
    ]
    write_figure(tmp_path / "times.png", figure)
    assert len(np.unique(cv2.imread(str(tmp_path / "times.png")))) > 50
