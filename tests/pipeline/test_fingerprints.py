"""What a changed setting makes a run do again."""

import pytest

from dd_sfm.config import Config, dump_config, load_config
from dd_sfm.features.methods import METHODS
from dd_sfm.pipeline.run import fingerprints
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.pipeline.stages import STAGES


@pytest.fixture
def again(tiny_clip, tmp_path):
    """The stages that are stale after a change, of a run with given features."""

    def call(features, *changes, before=()):
        requests = [
            RunRequest(tiny_clip, tmp_path, load_config(Config, None, [f"features={features}", *before, *more]))
            for more in ((), changes)
        ]
        old, new = (fingerprints(r) for r in requests)
        return [stage for stage in STAGES if old[stage] != new[stage]]

    return call


def test_a_setting_makes_its_own_stage_stale_and_all_after_it(again):
    assert again("learned") == []
    assert again("learned", "frames.every=2") == list(STAGES)
    assert again("learned", "pairs.reference_every=6") == ["match", "map", "densify"]
    assert again("learned", "triangulation.min_angle_deg=1") == ["map", "densify"]
    assert again("learned", "dense.spacing_px=8") == ["densify"]
    assert again("learned", "sift.preset=strong") == []


def test_what_is_to_repeat_to_the_bit_is_mapped_again(again):
    deterministic, guess = "runtime.deterministic=true", "camera.estimate=off"
    assert again("learned", deterministic) == list(STAGES), "the camera is estimated by mapping"
    assert again("learned", deterministic, before=[guess]) == ["map", "densify"]
    assert again("sift", deterministic, before=[guess]) == ["match", "map", "densify"]
    assert again("learned", "runtime.threads=1") == []


def test_instruments_are_found_while_mapping(again):
    assert again("learned", "masks.instruments=off") == ["map", "densify"]
    assert again("sift", "masks.instruments=off") == []


def test_sift_is_not_matched_again_for_settings_of_the_learned_descriptor(again):
    quality = "pairs.reference_every=6", "match.max_queries=1500", "dense.every=6", "triangulation.min_angle_deg=1"
    assert again("sift", *quality) == []
    assert again("sift", "sift.overlap=5") == ["match", "map", "densify"]
    assert again("sift", "map.min_inliers=25") == ["map", "densify"]
    assert again("sift", "pairs.reference_every=6", before=["sift.pairs=both"]) == ["match", "map", "densify"]


@pytest.mark.parametrize("features", ["learned", "sift"])
def test_finished_stages_of_the_first_version_still_hold(features):
    """Settings have other names now; what runs of version 0.1 have stored was made with those of then."""
    config = load_config(Config, None, [f"features={features}"])
    found, settings = METHODS[features].stage_inputs(config), dump_config(config)
    mapping = {"ladder": settings["map"]["mappers"]} | {k: v for k, v in settings["map"].items() if k != "mappers"}
    if features == "learned":
        assert found["map"] == [mapping, settings["triangulation"]]
        assert found["densify"] == [settings["triangulation"], settings["dense"]]
    else:
        assert found["map"] == [mapping, None]
        assert found["densify"] == []


def test_what_estimates_the_camera_counts_only_without_a_calibration(tiny_clip, tmp_path):
    def frames(calibration, *changes):
        config = load_config(Config, None, list(changes))
        return fingerprints(RunRequest(tiny_clip, tmp_path, config, calibration))["frames"]

    for change in ("camera.lens=colonoscope", "camera.estimate=false", "runtime.seed=1"):
        assert frames(None, change) != frames(None)
        assert frames("100,100,80,60", change) == frames("100,100,80,60")
