"""dd-sfm train by the command itself: what it takes, and one clear line for what it does not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from plane_sequence import write_clip, write_jhu, write_run

from dd_sfm.cli.options import find_config
from dd_sfm.cli.training_clips import StreamRenderer, default_clips_folder, render_scene
from dd_sfm.config import load_config
from dd_sfm.errors import ConfigError, OutputError
from dd_sfm.features.networks import build_network
from dd_sfm.features.weights import find_weights, read_architecture, read_training_sources, save_weights
from dd_sfm.progress import silent
from dd_sfm.synthetic.settings import LightSettings, preset
from dd_sfm.training.config import RenderConfig, TrainConfig, check_config
from dd_sfm.training.sources.spec import RenderedScene

SMALL = [
    "--steps", 2, "--workers", 0, "--threads", 1, "--device", "cpu", "--set", "working_height_px=112",
    "--set", "augment.crop=[64,64]", "--set", "tensorboard=false", "--set", "display_every=0",
]  # fmt: skip


@pytest.fixture
def train(dd_sfm, tmp_path):
    return lambda *arguments, out=tmp_path / "out": dd_sfm("train", *SMALL, *arguments, "-o", out)


@pytest.fixture
def refused(train):
    def call(*arguments, says, code=1, **where):
        ran = train(*arguments, "--quiet", **where)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("dd-sfm: ")
        assert says in lines[0], lines[0]

    return call


def test_sources_of_all_kinds_together(train, tmp_path):
    run, jhu = write_run(tmp_path / "run"), write_jhu(tmp_path / "jhu", seed=1)
    clip = write_clip(tmp_path / "clip.avi", seed=2)
    held_out = write_run(tmp_path / "other", seed=3)
    demo = ROOT / "demo_videos" / "sinus"
    ran = train(run, f"{jhu}:0-8@2", f"{clip}@0.5", f"{demo}:0-20", "--validation", held_out)
    assert ran.code == 0, ran.err
    assert "train on run: 12 frames, 0 to 11; poses are cam_from_world" in ran.err
    assert "jhu:0-8: 9 frames, 0 to 8; poses are world_from_cam" in ran.err
    assert "clip.avi: 12 frames, 0 to 11; no poses" in ran.err
    assert "% of the time waiting for pairs" in ran.err
    assert f"weights: {tmp_path / 'out' / 'weights.safetensors'}" in ran.err
    assert find_weights(str(tmp_path / "out")).is_file()


def test_list_of_sources_in_a_file(train, tmp_path):
    write_run(tmp_path / "run")
    file = tmp_path / "data.yaml"
    file.write_text("train: ['run:0-7']\nvalidation: ['run:8-11']\n")
    ran = train("--data", file)
    assert ran.code == 0, ran.err
    assert "measure on run:8-11: 4 frames, 8 to 11" in ran.err


def test_a_cache_whose_name_is_a_number(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = train(write_run(tmp_path / "run"), "--cache", "2024")
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "2024").glob("*.npz"))) == 1


def test_scene_to_render_becomes_a_clip(train, tmp_path, monkeypatch):
    made = []

    def copy(settings, folder, **options):
        made.append((settings.organ, settings.seed, settings.frames))
        shutil.copytree(ROOT / "demo_videos" / "colon", folder)

    monkeypatch.setattr("dd_sfm.synthetic.clip.write_clip", copy)
    ran = train("synth:colon:3-4", "--cache", tmp_path / "cache", "--set", "render.frames=30")
    assert ran.code == 0, ran.err
    assert made == [("colon", 3, 30), ("colon", 4, 30)]
    assert "colon-3-real-30x640x360: 75 frames" in ran.err
    assert train("synth:colon:3", "--cache", tmp_path / "cache", "--set", "render.frames=30").code == 0
    assert len(made) == 2


def test_a_clip_is_kept_for_its_settings_and_renderer(tmp_path, monkeypatch):
    def folder():
        settings = TrainConfig(cache=tmp_path)
        return render_scene(RenderedScene("colon", 3), settings, silent, print, write=False)

    def other_look(organ, difficulty):
        return replace(preset(organ, difficulty), light=LightSettings(ambient=0.2))

    before = folder()
    assert folder() == before
    with monkeypatch.context() as patch:
        patch.setattr("dd_sfm.synthetic.settings.preset", other_look)
        look = folder()
    monkeypatch.setattr("dd_sfm.synthetic.render.RENDERER_VERSION", -1)
    assert len({before, look, folder()}) == 3


@pytest.mark.slow
def test_scenes_without_end_are_rendered_while_training(train, tmp_path):
    render = ("--set", "render={frames: 6, width: 128, height: 96, every: 1}", "--cache", tmp_path / "cache")
    ran = train("synth:colon:7+", *render, "--workers", 1)
    assert ran.code == 0, ran.err
    assert "and a new scene every 1 pairs" in ran.err
    assert read_training_sources(str(tmp_path / "out")) == ["synth:colon:7+"]
    # Pair 1 is of the second scene.
    assert {"colon-7-real-6x128x96", "colon-8-real-6x128x96"} <= {p.parent.name for p in tmp_path.rglob("truth.npz")}


def test_the_next_scene_is_the_clip_that_would_be_rendered_before_training(tmp_path, monkeypatch):
    asked = []

    def note(clip, folder, turn):
        asked.append(clip)
        shutil.copytree(ROOT / "demo_videos" / "colon", folder)

    monkeypatch.setattr("dd_sfm.cli.training_clips._render_in_process", note)
    settings, first = TrainConfig(cache=tmp_path), RenderedScene("colon", 7, is_stream=True)
    series = StreamRenderer(first, settings)
    folder = series(2)
    assert asked[0] == replace(preset("colon", "real"), seed=9, frames=40, width=640, height=360)
    assert folder == render_scene(RenderedScene("colon", 9), settings, silent, print, write=False)
    assert series(2) == folder
    assert len(asked) == 1


def test_what_fails_where_pairs_are_prepared_is_one_clear_line(train, tmp_path, monkeypatch):
    def fail(clip, folder, turn):
        raise OutputError(f"{folder.name}: no space")

    cache = tmp_path / "cache"
    monkeypatch.setattr("dd_sfm.synthetic.clip.write_clip", copy_demo)
    monkeypatch.setattr("dd_sfm.cli.training_clips._render_in_process", fail)
    ran = train("synth:colon:7+", "--cache", cache, "--set", "render.every=1", "--workers", 1)
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "dd-sfm: colon-8-real-40x640x360: no space"


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME to a folder"):
        default_clips_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert default_clips_folder() == Path("/scratch/dd-sfm")


def copy_demo(settings, folder, **options):
    shutil.copytree(ROOT / "demo_videos" / "colon", folder)


def test_a_scene_that_cannot_be_rendered_is_one_clear_line(tmp_path):
    settings = TrainConfig(cache=tmp_path, render=RenderConfig(frames=40, width=90, height=96))
    with pytest.raises(OutputError, match="the next scene was not rendered: --size 90x96: expected even"):
        StreamRenderer(RenderedScene("colon", 7), settings)(1)


@pytest.mark.slow
def test_scene_is_rendered_once(train, tmp_path):
    render = ("--set", "render={frames: 6, width: 128, height: 96}", "--cache", tmp_path / "cache")
    ran = train("synth:colon:3", *render)
    assert ran.code == 0, ran.err
    assert "rendering colon-3-real-6x128x96 ..." in ran.err
    again = train("synth:colon:3@2", *render, out=tmp_path / "again")
    assert "rendering" not in again.err
    assert "colon-3-real-6x128x96: 6 frames" in again.err


def test_adaptation_by_the_command(train, tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.training.adapt.MEASURED_PAIRS", 2)
    run = write_run(tmp_path / "run", 24)
    ran = train("--adapt", run)
    assert ran.code == 0, ran.err
    assert "held-out frames 18 to 23, before: " in ran.err
    assert "held-out frames 18 to 23, after: " in ran.err
    assert ("use them with --weights" in ran.err) != ("the old ones are kept in" in ran.err)
    assert read_architecture(str(tmp_path / "out")) == ("compact", {})
    assert "sinus101" in read_training_sources(str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "adaptation.json").read_text())["frames_held_out"] == [18, 23]


def test_network_is_shown(train, tmp_path):
    ran = train(write_run(tmp_path / "run"), "--show-network")
    assert "CompactNet(" in ran.out
    assert "1.42 M parameters" in ran.out


def test_recipe_of_the_paper():
    config = load_config(TrainConfig, find_config("train-paper"))
    check_config(config)
    assert (config.architecture, config.loss, config.optimiser, config.schedule) == (
        "fc_densenet", "relative", "sgd", "cyclic",
    )  # fmt: skip
    assert (config.gaps, config.points, config.inlier_share, config.visibility_spread) == ((1, 50), 10, 0.99, 20)
    assert (config.lowest_rate, config.learning_rate, config.augment.crop) == (1e-4, 1e-3, (256, 320))


@pytest.mark.parametrize(("name", "batch"), [("train-wide", 16), ("train-wide-cpu", 1)])
def test_recipes_for_scopes_unseen(name, batch):
    config = load_config(TrainConfig, find_config(name))
    check_config(config)
    assert (config.architecture, config.batch, config.render.variety) == ("compact", batch, 1.0)
    widened = ("lens", "deformation_px", "camera", "recesses", "motion_blur_px", "compression", "overlay")
    assert all(getattr(config.augment, part) > 0 == getattr(TrainConfig().augment, part) for part in widened)


def test_nothing_to_train_on(refused, tmp_path):
    refused(says="expected DATA, --data FILE.yaml or --adapt RUN", code=2)
    refused("--adapt", tmp_path, "--validation", tmp_path, says="leave out --validation", code=2)


def test_output_is_asked_for(dd_sfm):
    ran = dd_sfm("train", "somewhere")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "-o" in ran.err


def test_sources_that_cannot_be_used(refused, tmp_path):
    refused(tmp_path / "none", says="not found; expected a JHU sequence")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, says="unknown kind of source")
    refused("synth:liver", says="synth:liver: unknown organ; expected one of sinus, colon, bladder", code=2)
    refused("nerf:scene", says="nerf:scene: not found")
    unfinished = write_run(tmp_path / "unfinished")
    shutil.rmtree(unfinished / "sparse")
    refused(unfinished, says="a run without a model; expected a finished one")
    letter = tmp_path / "letter.mp4"
    letter.write_text("Dear reader")
    refused(letter, says="no frame can be decoded")
    black = tmp_path / "black.png"
    cv2.imwrite(str(black), np.zeros((100, 100, 3), np.uint8))
    refused(black, says="all frames are black")
    assert not (tmp_path / "out").exists()


def test_training_on_what_is_measured(refused, tmp_path):
    run = write_run(tmp_path / "run")
    refused(run, "--validation", f"{run}:8-11", says="share 4 frames (8 to 11)", code=2)
    refused(write_jhu(tmp_path / "jhu"), "--validation", run, says="show the same frames", code=2)


def test_weights_of_another_network_to_start_from(refused, train, tmp_path):
    run = write_run(tmp_path / "run")
    path = tmp_path / "paper.safetensors"
    save_weights(
        path,
        build_network("fc_densenet", growth=2, dim=8),
        "fc_densenet",
        {"growth": 2, "dim": 8},
        extra={"training": '{"data": ["seen", "run"]}'},
    )
    refused(
        run, "--init", path, "--set", "descriptor_dim=16",
        says="weights of fc_densenet growth=2 dim=8; the settings ask for compact dim=16",
    )  # fmt: skip
    refused(run, "--init", "compakt", says="did you mean 'compact'?")
    ran = train(run, "--init", path)
    assert ran.code == 0, ran.err
    assert read_architecture(str(tmp_path / "out")) == ("fc_densenet", {"dim": 8, "growth": 2})
    assert read_training_sources(str(tmp_path / "out")) == ["seen", "run"]
    refused(run, says="a checkpoint of fc_densenet dim=8 growth=2; the settings ask for compact")


def test_an_adaptation_of_another_network_than_the_shipped_one(refused, tmp_path):
    run = write_run(tmp_path / "run")
    refused(
        "--adapt",
        run,
        "--config",
        "train-paper",
        says="--adapt, from the shipped compact-rendered: weights of compact;",
    )


def test_settings_that_do_not_fit(refused, tmp_path):
    refused(tmp_path, "--set", "augment.crop=[10,10]", says="augment.crop [10, 10]", code=2)
    refused(tmp_path, "--set", "learning_rat=1", says="did you mean 'learning_rate'?", code=2)
    refused(
        tmp_path, "--config", "paper", says="--config paper: settings of a reconstruction; expected train-paper", code=2
    )
    refused(tmp_path, "--seed", "-1", says="seed -1: expected 0 to", code=2)


def test_overwrite_removes_nothing_when_a_source_cannot_be_used(train, refused, tmp_path):
    run = write_run(tmp_path / "run")
    assert train(run).code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    refused(run, tmp_path / "mistyped", "--overwrite", says="mistyped: not found")
    refused(run, "--overwrite", "--set", "descriptor_dim=0", says="descriptor_dim 0: expected 1 or more", code=2)
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_overwrite_starts_over_and_spares_the_users_files(train, tmp_path):
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    assert train(run).code == 0
    (out / "notes.txt").write_text("mine")
    (out / "display").mkdir()
    (out / "display" / "mine.png").write_text("mine")
    ran = train(run, "--overwrite")
    assert "going on" not in ran.err
    assert (out / "notes.txt").read_text() == (out / "display" / "mine.png").read_text() == "mine"
    assert "already at step 2, of 2 asked for: nothing is left to do" in train(run).err


def test_output_that_is_a_file(refused, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    refused(write_run(tmp_path / "run"), says="is a file; expected a folder", out=file)
    assert file.read_text() == "mine"


def test_reconstruct_takes_the_folder_of_a_training(train, dd_sfm, tmp_path):
    run = write_run(tmp_path / "run")
    assert train(run).code == 0
    found = find_weights(str(tmp_path / "out"))
    assert found == Path(tmp_path / "out" / "weights.safetensors")
    ran = dd_sfm("reconstruct", write_clip(tmp_path / "c.avi"), "-o", tmp_path / "r", "--weights", tmp_path / "none")
    assert "not found" in ran.err
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] == 2
