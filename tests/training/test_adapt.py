import json

import numpy as np
import pytest
import torch
from plane_sequence import write_jhu, write_run
from safetensors.torch import load_file

from dd_sfm.errors import InputError, OutputError, UsageError
from dd_sfm.features.weights import load_weights
from dd_sfm.progress import silent
from dd_sfm.training.adapt import adapt, split_frames, table
from dd_sfm.training.augment import AugmentConfig
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.loop import TrainRequest
from dd_sfm.training.sources.spec import DataPath

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    monkeypatch.setattr("dd_sfm.training.adapt.MEASURED_PAIRS", 2)


@pytest.mark.parametrize("count", [20, 35, 200])
def test_held_out_frames_are_the_last_with_a_margin(count, tmp_path):
    split = split_frames(count, tmp_path)
    assert split.training[0] == 0
    assert split.held_out[1] == count - 1
    assert split.held_out[0] - split.training[1] - 1 >= 3
    assert split.held_out[1] - split.held_out[0] + 1 >= 6


def test_too_few_frames(tmp_path):
    with pytest.raises(InputError, match="19 frames with a pose; expected at least 20"):
        split_frames(19, tmp_path)


def run(folder, out, more=(), **changes):
    torch.set_num_threads(1)
    values = {
        "steps": 3, "warmup": 1, "points": 32, "augment": AugmentConfig(crop=(64, 64)), "workers": 0,
        "working_height_px": 112, "display_every": 0, "tensorboard": False, "average": 0.0,
    }  # fmt: skip
    config = TrainConfig(**(values | changes))
    request = TrainRequest(tuple(more), (), out, config, CPU, lambda f, where: np.ones(f[0].shape[:2], bool))
    return adapt(folder, request, load_weights("compact", CPU), silent)


def test_old_weights_are_kept_when_nothing_gets_better(tmp_path):
    out = tmp_path / "out"
    # A rate at which everything learned is lost.
    result = run(write_run(tmp_path / "run", 24), out, learning_rate=0.5)
    assert not result.is_better
    kept, old = load_file(out / "weights.safetensors"), load_weights("compact", CPU).state_dict()
    assert all(torch.equal(kept[n].float(), old[n].float()) for n in kept)
    record = json.loads((out / "adaptation.json").read_text())
    assert record["kept"].startswith("the weights it began with")
    assert record["after"]["pck2"] < record["before"]["pck2"]
    assert (record["frames_learned_from"], record["frames_held_out"]) == ([0, 14], [18, 23])


def test_better_weights_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.training.adapt.Adaptation.is_better", True)
    out = tmp_path / "out"
    result = run(write_jhu(tmp_path / "seq", 20), out)
    kept, last = load_file(out / "weights.safetensors"), load_file(out / "last.safetensors")
    assert all(torch.equal(kept[n], last[n]) for n in kept)
    assert json.loads((out / "adaptation.json").read_text())["kept"] == "adapted"
    # Gaps of 12 and 30 do not exist among the held-out frames.
    assert [row[0] for row in table(result)] == ["gap 1", "gap 4", "all"]


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    out = tmp_path / "out"
    first = write_run(tmp_path / "first" / "run", 20)
    run(first, out, steps=1)
    with pytest.raises(OutputError, match="holds a training on .*first/run:0-10; expected one on .*second/run:0-10"):
        run(write_run(tmp_path / "second" / "run", 20, seed=1), out, steps=1)
    assert run(first, out, steps=2).split.held_out == (14, 19)


def test_held_out_frames_may_not_come_in_by_other_data(tmp_path):
    folder = write_run(tmp_path / "run", 24)
    copy = DataPath(write_jhu(tmp_path / "copy", 24))
    with pytest.raises(UsageError, match=r"run:18-23 \(validation\) and .*copy \(training\) show the same"):
        run(folder, tmp_path / "out", [copy], steps=1)
