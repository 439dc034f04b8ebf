"""The seam for features: a third method is one file (``toy_features.py``) and one line."""

import re
from pathlib import Path

import pytest
from toy_features import OrbFeatures

from dd_sfm.config import Config, load_config
from dd_sfm.errors import ConfigError
from dd_sfm.features.methods import METHODS, feature_method
from dd_sfm.io.run_folder import read_metrics
from dd_sfm.io.run_layout import remove_own
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.pipeline.stages import STAGES

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=f"--features surf: expected one of {', '.join(METHODS)}"):
        feature_method("surf")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_what_each_of_its_stages_depends_on(name):
    assert set(METHODS[name].stage_inputs(Config())) == set(STAGES[1:])
    assert METHODS[name].resumes <= set(STAGES)


def test_the_help_names_every_method(dd_sfm):
    words = re.split(r"[\s,.]+", dd_sfm("reconstruct", "--help").out)
    assert set(METHODS) <= set(words)


@pytest.mark.slow
def test_a_third_method_is_one_file_and_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(METHODS, "orb", OrbFeatures())
    config = load_config(
        Config,
        None,
        ["features=orb", "frames.end=16", "dense.spacing_px=6", "dense.adjust_points=0", "runtime.device=cpu"],
    )
    metrics = run(RunRequest(DEMO / "clip.mp4", tmp_path / "run", config, str(DEMO / "calibration.txt")))
    assert metrics["features"] == "orb"
    assert metrics["weights"] is None
    assert metrics["frames_registered"] >= 12
    assert metrics["points"] > 300
    assert metrics == read_metrics(tmp_path / "run")
    # What the method keeps for itself goes with its stage.
    kept = tmp_path / "run" / "match" / "matches.json"
    assert kept.is_file()
    remove_own(tmp_path / "run", "map")
    assert kept.is_file()
    remove_own(tmp_path / "run", "match")
    assert not kept.parent.exists()
