"""The seam for features: a third method is one file (``toy_features.py``) and one line."""

from pathlib import Path

import pytest
from toy_features import OrbFeatures

from dd_sfm.config import Config, load_config
from dd_sfm.errors import ConfigError
from dd_sfm.features.methods import METHODS, feature_method
from dd_sfm.io.run_folder import read_metrics
from dd_sfm.pipeline.run import RunRequest, run
from dd_sfm.pipeline.stages import STAGES

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"features: 'surf' is unknown; expected one of: learned, sift"):
        feature_method("surf")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_what_each_of_its_stages_depends_on(name):
    assert set(METHODS[name].stage_inputs(Config())) == set(STAGES[1:])
    assert METHODS[name].resumes <= set(STAGES)


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
