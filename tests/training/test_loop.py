"""The loop on a small run: what it writes, how it goes on, when it stops."""

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import time
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from plane_sequence import write_run
from safetensors import safe_open
from safetensors.torch import load_file

from dd_sfm.errors import InputError, OutputError, StoppedError, TrainingError, UsageError, WeightsError
from dd_sfm.features.weights import load_weights, read_architecture
from dd_sfm.io.images import read_image
from dd_sfm.progress import silent
from dd_sfm.training.augment import AugmentConfig
from dd_sfm.training.config import ADAPT, RANGES, RenderConfig, TrainConfig, check_config
from dd_sfm.training.loop import TrainRequest, train
from dd_sfm.training.output import clear_output
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.tensorboard_writer import TensorBoardWriter
from dd_sfm.training.trainer import Trainer, learning_rate

CPU = torch.device("cpu")


def small(**changes):
    augment = AugmentConfig(crop=(64, 64))
    values = {
        "steps": 4, "warmup": 2, "points": 32, "augment": augment, "workers": 0, "working_height_px": 112,
        "validate_every": 2, "display_every": 2, "tensorboard": False,
    }  # fmt: skip
    return TrainConfig(**(values | changes))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    torch.set_num_threads(1)
    return write_run(tmp_path_factory.mktemp("data") / "run")


@pytest.fixture
def go(run_folder, tmp_path):
    def call(config=None, data="0-7", validation="8-11", progress=silent, start=None, overwrite=False):
        request = TrainRequest(
            (DataPath.parse(f"{run_folder}:{data}"),),
            (DataPath.parse(f"{run_folder}:{validation}"),) if validation else (),
            tmp_path / "out",
            config or small(),
            CPU,
            lambda frames, where: np.ones(frames[0].shape[:2], bool),
            start,
            overwrite=overwrite,
        )
        return train(request, progress)

    return call


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_what_a_training_leaves(go, tmp_path):
    out = tmp_path / "out"
    result = go()
    names = {p.name for p in out.iterdir()}
    assert names == {
        "checkpoint.pt", "history.jsonl", "weights.safetensors", "last.safetensors", "training.yaml", "display"
    }  # fmt: skip
    records = history(out)
    assert [r["step"] for r in records] == [2, 4, 4]
    assert set(records[0]["run:8-11"]) == {"pck1", "pck2", "pck4", "median", "gaps"}
    # Four frames have no pair that is 4, 12 or 30 apart.
    assert set(records[0]["run:8-11"]["gaps"]) == {"1"}
    assert records[-1]["finished"]
    assert 0 <= records[-1]["waiting_share"] <= 1
    assert records[-1]["pairs_per_s"] == result.pairs_per_s > 0
    assert {p.name for p in (out / "display").iterdir()} == {"00000002_1_run_8-11.jpg", "00000004_1_run_8-11.jpg"}
    # Two frames of 160 x 120 beside each other, twice as large: with its margin the crop is the whole frame.
    assert read_image(out / "display" / "00000004_1_run_8-11.jpg").shape == (240, 640, 3)
    assert yaml.safe_load((out / "training.yaml").read_text())["config"]["steps"] == 4
    assert load_weights(str(out), CPU).dim == 64


@pytest.mark.parametrize("name", ["weights", "last"])
def test_weights_do_not_record_local_paths(go, tmp_path, name):
    go(small(steps=1, cache=tmp_path / "prepared"))
    with safe_open(tmp_path / "out" / f"{name}.safetensors", "pt") as file:
        assert str(tmp_path) not in "".join(file.metadata().values())


def test_changed_sources_and_settings_are_said(go, caplog):
    go(small(steps=1))
    with caplog.at_level("INFO"):
        go(small(steps=2, points=20), data="0-6")
    assert "the sources changed since the checkpoint" in caplog.text
    assert "steps 1 -> 2; points 32 -> 20" in caplog.text


def test_best_weights_are_kept(go, tmp_path, monkeypatch):
    scores = iter([0.5, 0.2])
    monkeypatch.setattr("dd_sfm.training.validation.Accuracy.score", property(lambda self: next(scores)))
    result = go()
    best, last = (load_file(tmp_path / "out" / f"{n}.safetensors") for n in ("weights", "last"))
    assert result.best == 0.5
    assert any(not torch.equal(best[n], last[n]) for n in best)


def test_it_stops_when_validation_gets_no_better(go, monkeypatch, tmp_path):
    monkeypatch.setattr("dd_sfm.training.validation.Accuracy.score", property(lambda self: 0.1))
    config = small(steps=20, patience=2)
    result = go(config)
    assert (result.step, result.stopped_early) == (6, True)
    assert history(tmp_path / "out")[-1]["early"]
    # Repeated, it has nothing left to do.
    assert go(config).step == 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_kill_write_a_checkpoint_and_repeating_ends_alike(go, tmp_path, number, code):
    def interrupted(items, *, total, label):
        for k, item in enumerate(items):
            if k == 2:
                os.kill(os.getpid(), number)
            yield item

    with pytest.raises(StoppedError, match="stopped after step 3 of 4; the checkpoint is written") as stopped:
        go(progress=interrupted)
    assert stopped.value.exit_code == code
    go()
    resumed = load_file(tmp_path / "out" / "last.safetensors")
    clear_output(tmp_path / "out")
    go()
    whole = load_file(tmp_path / "out" / "last.safetensors")
    assert all(torch.equal(resumed[n], whole[n]) for n in whole)


def test_what_ends_the_processes_that_prepare_pairs_too_leaves_the_last_checkpoint(go, tmp_path):
    config = small(workers=1, checkpoint_every=1)

    def ended(items, *, total, label):
        for k, item in enumerate(items):
            if k == 2:
                (worker,) = multiprocessing.active_children()
                # From outside: a worker takes its trainer's own signal for the end of the work.
                subprocess.run(["kill", "-TERM", str(os.getpid()), str(worker.pid)], check=True)
                time.sleep(10)  # until its end is noticed
            yield item

    with pytest.raises(StoppedError, match="repeat the command to go on after the last checkpoint") as stopped:
        go(config, progress=ended)
    assert stopped.value.exit_code == 143
    assert torch.load(tmp_path / "out" / "checkpoint.pt")["step"] == 2
    assert go(config).step == 4


def test_fewer_steps_than_are_done(go, tmp_path, caplog):
    go(small(steps=3))
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.*") if p.suffix in (".pt", ".safetensors")}
    with caplog.at_level("INFO"):
        assert go(small(steps=1)).step == 3
    assert "already at step 3, of 1 asked for: nothing is left to do" in caplog.text
    assert "going on" not in caplog.text
    assert {p: p.read_bytes() for p in before} == before


def test_overwrite_removes_nothing_when_the_mix_leaves_no_source(go, tmp_path):
    go(small(steps=1))
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="mix: the kinds of sources given have no share"):
        go(small(steps=1, mix=(0.0, 1.0, 0.0)), overwrite=True)
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_full_disk_during_a_checkpoint_keeps_the_last_one(go, tmp_path, monkeypatch):
    go(small(steps=2))
    before = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    real = Path.open

    def full(path, mode="r", *arguments, **named):
        if path.name == "checkpoint.pt.partial" and mode == "wb":
            with real(path, mode) as file:
                file.write(before[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="the disk is full.*the last good checkpoint is kept"):
        go(small(steps=4))
    assert (tmp_path / "out" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "out").glob("*.partial"))
    monkeypatch.undo()
    assert go(small(steps=4)).step == 4


def test_checkpoint_of_another_network(go, tmp_path):
    go(small(steps=1))
    with pytest.raises(WeightsError, match="a checkpoint of compact; the settings ask for fc_densenet"):
        go(small(architecture="fc_densenet"))
    with pytest.raises(WeightsError, match="the settings ask for compact dim=32"):
        go(small(descriptor_dim=32))
    torch.save({"network": {}}, tmp_path / "out" / "checkpoint.pt")
    with pytest.raises(WeightsError, match="average, optimiser, step missing"):
        go()


def test_overlap_is_refused_before_anything_is_written(go, tmp_path):
    with pytest.raises(UsageError, match=r"share 2 frames \(6 to 7\)"):
        go(validation="6-11")
    assert not (tmp_path / "out").exists()


def test_folder_with_weights_of_something_else(go, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.safetensors").write_bytes(b"precious")
    with pytest.raises(OutputError, match="holds weights.safetensors but no training"):
        go()
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == b"precious"


def test_crops_that_share_nothing(go, monkeypatch):
    monkeypatch.setattr("dd_sfm.training.pairs.augment_pair", lambda *a: None)
    with pytest.raises(InputError, match="no usable pair in 20 draws"):
        go()


def test_start_from_weights(go, tmp_path):
    network = load_weights("compact", CPU)
    go(small(steps=1, learning_rate=1e-9), start=network)
    assert read_architecture(str(tmp_path / "out")) == ("compact", {})
    found = load_file(tmp_path / "out" / "last.safetensors")
    wanted = network.state_dict()
    weights = [n for n in found if n.endswith("weight")]
    assert all(torch.allclose(found[n].float(), wanted[n], atol=1e-3) for n in weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 3, "micro_batch": 2},
        {"optimiser": "sgd", "schedule": "cyclic", "loss": "relative", "points": 10, "average": 0.0},
        {"architecture": "fc_densenet", "growth": 4, "descriptor_dim": 16, "precision": "float32"},
        {"workers": 2, "batch": 2},
        {"mix": (0.0, 0.0, 1.0)},
    ],
)
def test_variants_train(go, tmp_path, changes):
    result = go(small(steps=2, display_every=0, **changes), validation=None)
    assert result.step == 2
    assert np.isfinite(history(tmp_path / "out")[0]["loss"])


def test_gradients_add_up_as_in_one_batch(tmp_path, run_folder):
    from dd_sfm.training.pairs import PairDataset
    from dd_sfm.training.sources.open_sources import open_source, sampling_shares

    config = small(batch=2, architecture="fc_densenet", growth=2, descriptor_dim=8, precision="float32")
    source = open_source(DataPath(run_folder), config, lambda f, w: np.ones(f[0].shape[:2], bool))
    dataset = PairDataset(sampling_shares([source], config.mix), config)
    pairs = [dataset[0], dataset[1]]
    losses = []
    for size in (1, 2):
        trainer = Trainer(small(**(vars(config) | {"micro_batch": size})), tmp_path, CPU)
        # Batch statistics differ with what is in the batch; fixed ones do not.
        trainer.network.eval()
        trainer.network.train = lambda mode=True, n=trainer.network: n
        losses.append(trainer.train_step(pairs))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_learning_rates_by_hand():
    cyclic = small(schedule="cyclic", learning_rate=1.0, lowest_rate=0.1, cycle_steps=10)
    assert [learning_rate(cyclic, s) for s in (0, 5, 10, 15, 20)] == pytest.approx([0.1, 0.55, 1.0, 0.55, 0.1])
    cosine = small(steps=100, warmup=10, learning_rate=1.0)
    assert learning_rate(cosine, 0) == pytest.approx(0.1)
    assert learning_rate(cosine, 50) == pytest.approx(0.5)


def test_gradients_that_are_not_finite_end_the_training(tmp_path):
    trainer = Trainer(small(), tmp_path, CPU)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    pair = {
        "images": torch.rand(2, 3, 64, 64),
        "masks": torch.ones(2, 64, 64, dtype=torch.bool),
        "xy": torch.rand(2, 20, 2) * 60,
    }
    for _ in range(9):
        trainer.train_step([pair])
    with pytest.raises(TrainingError, match="not finite 10 times in a row"):
        trainer.train_step([pair])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "steps 0"),
        ({"gaps": (5, 2)}, "the smaller first"),
        ({"inlier_share": 0.0}, "inlier_share"),
        ({"augment": AugmentConfig(crop=(32, 320))}, "64 or more"),
        ({"growth": 4}, "expected fc_densenet, which alone has it"),
        ({"average": 1.0}, "average 1.0"),
        ({"micro_batch": 0}, "micro_batch 0"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"mix": (0.0, 0.0, 0.0)}, "not all 0"),
        ({"seed": -1}, "seed -1: expected 0 to"),
        ({"workers": -1}, "workers -1: expected 0 or more"),
        ({"descriptor_dim": 0}, "descriptor_dim 0: expected 1 or more"),
        ({"architecture": "fc_densenet", "growth": 0}, "growth 0: expected 1 or more"),
        ({"scale": (16.0, -1.0)}, r"scale \[16.0, -1.0\]: expected numbers, each above 0"),
        ({"augment": AugmentConfig(photometric=-1.0)}, "augment.photometric -1.0: expected 0 or more"),
        ({"render": RenderConfig(frames=0)}, "render.frames 0: expected 3 or more"),
    ],
)
def test_settings_that_cannot_be_trained_with(changes, says):
    with pytest.raises(UsageError, match=says):
        check_config(TrainConfig(**changes))


def test_shipped_recipes_are_valid():
    check_config(TrainConfig())
    check_config(ADAPT)


def numbers_of(cls, prefix=""):
    """Keys of all numbers of a dataclass and of its sections."""
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from numbers_of(kind, f"{name}.")
        elif {int, float} & {kind, *typing.get_args(kind)}:
            yield prefix + name


def test_every_number_has_a_range():
    assert set(numbers_of(TrainConfig)) == set(RANGES)


def test_tensorboard_files(go, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(small(steps=10, validate_every=10, display_every=10, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "learning rate", "pck 2 px/run:8-11/gap 1", "pck 4 px/run:8-11/all"} <= set(tags["scalars"])
    assert tags["images"] == ["response/1 run:8-11"]


def test_curves_that_cannot_be_written_are_told_at_once(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    # Its file is called by the time.
    monkeypatch.setattr("dd_sfm.training.tensorboard_writer.time.time", lambda: 0.0)
    writer = TensorBoardWriter(tmp_path, enabled=True)
    writer.scalars(1, {"loss": 1.0})
    writer.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="tfevents.*the disk is full; free some space"):
        TensorBoardWriter(tmp_path, enabled=True)
    with pytest.raises(OutputError, match="gone"):
        TensorBoardWriter(tmp_path / "gone", enabled=True)
    with pytest.raises(OutputError, match="gone"):
        TensorBoardWriter(tmp_path / "gone", enabled=False).picture(1, 1, "a", np.zeros((4, 4, 3), np.uint8))


def test_without_tensorboard_it_trains_and_says_so(go, tmp_path, monkeypatch, caplog):
    import builtins

    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with caplog.at_level("INFO"):
        go(small(steps=1, tensorboard=True))
    assert "TensorBoard is not installed" in caplog.text


def test_a_folder_of_other_files_is_left_alone(go, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other files \(notes\.txt\); expected a new folder"):
        go()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["notes.txt"]
    go(small(steps=1), overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
