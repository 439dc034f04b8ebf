"""Runs, comparisons and evaluations from Python: what they give, refuse and leave alone. The stages have own tests."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import usual_runs
from plane import FRAMES, plane_model, to_own_world, write_run, write_truth
from process_state import leaves_the_process_alone as leaves_the_process_alone
from process_state import process_state

import dd_sfm
from dd_sfm.config import Config, DescribeConfig, FramesConfig, RuntimeConfig
from dd_sfm.errors import ConfigError, InputError, OutputError, ReconstructionError, StoppedError, WeightsError
from dd_sfm.evaluation.model.evaluate import evaluate_model
from dd_sfm.io.clouds import read_cloud
from dd_sfm.pipeline.compare import Outcome

pytestmark = pytest.mark.usefixtures("leaves_the_process_alone")
ON_CPU = Config(runtime=RuntimeConfig(device="cpu"))


# Frames


def test_frames_are_read_in_the_order_asked_for(tiny_clip):
    third, first, again = dd_sfm.read_frames(tiny_clip, [2, 0, 2])
    assert third.shape == (120, 160, 3)
    assert third.dtype == np.uint8
    assert np.array_equal(third, again)
    assert not np.array_equal(third, first)
    # Reddish: a swapped channel would be bluish.
    assert third[..., 0].mean() > third[..., 2].mean()


def test_a_frame_that_is_not_there_is_refused(tiny_clip, tmp_path):
    for number in (12, -1):
        with pytest.raises(InputError, match=f"no frame {number} found; expected numbers from 0 to 11"):
            dd_sfm.read_frames(tiny_clip, [0, number])
    with pytest.raises(InputError, match="not found"):
        dd_sfm.read_frames(tmp_path / "away.mp4", [0])


# Runs


def test_stages_run_up_to_one_and_are_told(tiny_clip, tmp_path):
    told = []
    figures = dd_sfm.run_stages(str(tiny_clip), str(tmp_path / "run"), ON_CPU, last="describe", on_stage=told.append)
    assert figures == {}
    assert [told[0], told[2]] == ["frames ...", "describe ..."]
    assert re.fullmatch(r"camera: focal length \d+ px \+- \d+ %, assumed: 75 degrees across, .*", told[1])
    assert len(list((tmp_path / "run" / "descriptors").glob("*.pooled.npy"))) == 12
    told.clear()
    dd_sfm.run_stages(tiny_clip, tmp_path / "run", ON_CPU, last="describe", on_stage=told.append)
    assert told == ["frames: done before", "describe: done before"]
    with pytest.raises(InputError, match="the run is not finished"):
        dd_sfm.open_run(tmp_path / "run")


def test_handlers_of_signals_are_left_alone_during_a_run(tiny_clip, tmp_path):
    before, during = process_state(), []
    dd_sfm.run_stages(
        tiny_clip, tmp_path / "run", ON_CPU, last="frames", on_stage=lambda _: during.append(process_state())
    )
    for name in ("signals", "system signals", "environment", "Python seed", "NumPy seed"):
        assert during[0][name] == before[name], name


def test_a_camera_is_a_calibration(tiny_clip, tmp_path):
    camera = dd_sfm.PinholeCamera(160, 120, 150.25, 151.5, 80.125, 60.0625)
    dd_sfm.run_stages(tiny_clip, tmp_path / "run", ON_CPU, last="frames", calibration=camera)
    found = json.loads((tmp_path / "run" / "frames.json").read_text())["camera"]
    assert dd_sfm.PinholeCamera(**found) == camera


def test_progress_is_shown_where_it_is_asked_for(tiny_clip, tmp_path):
    labels = []

    def progress(items, *, total, label):
        labels.append((label, total))
        return iter(items)

    dd_sfm.run_stages(tiny_clip, tmp_path / "run", ON_CPU, last="frames", progress=progress)
    assert ("read frames", 12) in labels


def test_ctrl_c_ends_a_run_with_an_error_of_its_own(tiny_clip, tmp_path):
    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="stopped"):
        dd_sfm.reconstruct(tiny_clip, tmp_path / "run", ON_CPU, on_stage=stop)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"source": "away.mp4"}, InputError, "away.mp4: not found"),
        ({"config": "fastest"}, ConfigError, "quality 'fastest': unknown"),
        ({"config": replace(ON_CPU, frames=FramesConfig(every=0))}, ConfigError, "frames.every 0"),
        ({"config": replace(ON_CPU, describe=DescribeConfig(weights="none"))}, WeightsError, "none: not found"),
        ({"calibration": "1,2,3"}, InputError, "3 numbers; expected fx,fy,cx,cy"),
        ({"mask": "away.png"}, InputError, "away.png: not found"),
    ],
)
def test_what_a_run_cannot_work_with_is_refused_before_anything_is_written(
    tiny_clip, tmp_path, changes, error, message
):
    arguments = {"source": tiny_clip, "out": tmp_path / "run", "config": ON_CPU} | changes
    with pytest.raises(error, match=message) as raised:
        dd_sfm.reconstruct(**arguments)
    assert isinstance(raised.value, dd_sfm.DDSfMError)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_not_written_to(tiny_clip, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="not of a dd-sfm run"):
        dd_sfm.reconstruct(tiny_clip, tmp_path, ON_CPU)


def test_a_cloud_is_written_to_a_path_given_as_text(tmp_path):
    xyz = np.arange(6.0).reshape(2, 3)
    cloud = dd_sfm.PointCloud(xyz, np.zeros((2, 3), np.uint8), xyz, np.array([0.5, 1.0]), np.array([2, 3]))
    dd_sfm.write_cloud(str(tmp_path / "cloud.ply"), cloud)
    assert np.array_equal(read_cloud(tmp_path / "cloud.ply").xyz, xyz)
    with pytest.raises(OutputError, match="away"):
        dd_sfm.write_cloud(tmp_path / "away" / "cloud.ply", cloud)


# Comparisons


@pytest.fixture
def ready(monkeypatch, tmp_path):
    """The runs of a comparison are there already; gives what they were asked for with."""
    usual_runs(tmp_path / "out")
    (tmp_path / "out" / "learned" / "stages.json").touch()
    asked = []

    def run_all(request, progress, say):
        asked.append(request)
        say("learned: frames ...")
        return [Outcome(name, request.base.out / name, "") for name in ("learned", "sift")]

    monkeypatch.setattr("dd_sfm.api.run_all", run_all)
    return asked


def test_a_comparison_gives_models_figures_and_a_report(ready, tiny_clip, tmp_path):
    truth, told = write_truth(tmp_path / "truth"), []
    found = dd_sfm.compare(
        tiny_clip, tmp_path / "out", ON_CPU, sift="strong", default_sift=False, reference=truth, on_stage=told.append
    )
    assert isinstance(found, dd_sfm.Comparison)
    assert [column.label for column in found.columns] == ["learned", "SIFT, strong"]
    assert found.figures["verdict"]
    assert (found.figures["warnings"], found.unit) == ([], "mm")
    assert (ready[0].sift, ready[0].default_sift) == ("strong", False)
    assert told == ["learned: frames ...", "report ..."]
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["verdict"] == found.figures["verdict"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_comparison_that_cannot_be_made_is_refused(ready, tiny_clip, tmp_path):
    with pytest.raises(ConfigError, match="features is 'sift'"):
        dd_sfm.compare(tiny_clip, tmp_path / "out", replace(ON_CPU, features="sift"))
    with pytest.raises(ConfigError, match="weak: unknown; expected tuned or strong"):
        dd_sfm.compare(tiny_clip, tmp_path / "out", ON_CPU, sift="weak")
    with pytest.raises(InputError, match="away: not found"):
        dd_sfm.compare(tiny_clip, tmp_path / "out", ON_CPU, reference=tmp_path / "away")
    assert ready == []


def test_a_comparison_without_any_model_is_an_error(ready, tiny_clip, tmp_path, monkeypatch):
    def fail(request, progress, say):
        raise ReconstructionError("no run found a model")

    monkeypatch.setattr("dd_sfm.api.run_all", fail)
    with pytest.raises(ReconstructionError, match="no run found a model"):
        dd_sfm.compare(tiny_clip, tmp_path / "out", ON_CPU)


# Evaluations


def test_an_evaluation_is_that_of_the_command_line(tmp_path):
    truth, model = write_truth(tmp_path / "truth"), write_run(tmp_path / "model", to_own_world(plane_model(2.0)))
    found = dd_sfm.evaluate_model(str(model), str(truth), gaps=(1, 4))
    expected = evaluate_model(model, truth, gaps=(1, 4))
    assert isinstance(found, dd_sfm.Evaluation)
    assert found.figures == expected.figures
    assert found.figures["frames_common"] == FRAMES
    assert np.array_equal(found.error, expected.error, equal_nan=True)
    assert sorted(path.name for path in model.iterdir()) == ["cameras.bin", "images.bin", "points3D.bin"]
    with pytest.raises(InputError, match="away: not found"):
        dd_sfm.evaluate_model(model, tmp_path / "away")


def test_a_run_is_evaluated_by_itself(tmp_path):
    truth = write_truth(tmp_path / "truth")
    write_run(tmp_path / "sparse" / "0", to_own_world(plane_model(2.0)))
    found = dd_sfm.evaluate_model(dd_sfm.Run(tmp_path), truth)
    assert Path(found.figures["model"]) == tmp_path / "sparse" / "0"
