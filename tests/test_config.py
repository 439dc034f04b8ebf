from pathlib import Path

import pytest

from dd_sfm.config import Config, build_config, dump_config, load_config
from dd_sfm.errors import ConfigError
from dd_sfm.training.config import TrainConfig


def test_defaults_round_trip_through_plain_values():
    config = Config()
    assert build_config(Config, dump_config(config), where="test") == config


def test_yaml_then_override(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("match: {query_spacing_px: 8, min_ncc: 0.5}\npairs: {offsets: [1, 2]}\n")
    config = load_config(Config, path, ["match.query_spacing_px=4", "frames.end=12"])
    assert config.match.query_spacing_px == 4
    assert config.match.min_ncc == 0.5
    assert config.pairs.offsets == (1, 2)
    assert config.frames.end == 12


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("match.min_similarty=1", "did you mean 'match.min_similarity'"),
        ("nonsense.key=1", "unknown key 'nonsense'"),
        ("dense.evry=2", "did you mean 'dense.every'?"),
        ("every=2", "did you mean 'frames.every' or 'dense.every'?"),
        ("match.min_similarity=high", "expected float"),
        ("match=3", "'match' is a section"),
        ("frames.every=true", "expected int"),
        ("features=orb", "expected one of learned, sift"),
        ("map.focal_bounds=[1]", "has 1 values; expected 2"),
        ("justakey", "expected key.path=value"),
    ],
)
def test_wrong_override_is_one_clear_line(override, expected):
    with pytest.raises(ConfigError, match=".") as caught:
        load_config(Config, None, [override])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key_in_file_names_the_file(tmp_path):
    path = tmp_path / "fast.yaml"
    path.write_text("match:\n  min_similarty: 0.3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Config, path)
    assert str(caught.value) == f"{path}: unknown key 'match.min_similarty'; did you mean 'match.min_similarity'?"


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", "\x00\x01"])
def test_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(Config, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("typed", ["2024", "1e3", "yes", "2024-01-01", "[a", "a: b", "0123"])
def test_text_stays_as_it_was_typed(typed):
    assert load_config(Config, None, [f"describe.weights={typed}"]).describe.weights == typed
    assert load_config(Config, options={"--weights": ("describe.weights", typed)}).describe.weights == typed


def test_a_path_may_be_a_number_and_null_is_no_path(tmp_path):
    assert load_config(TrainConfig, None, ["cache=2024"]).cache == Path("2024")
    assert load_config(TrainConfig, None, ["cache=null"]).cache is None
    path = tmp_path / "a.yaml"
    path.write_text("describe: {weights: 2024}")
    with pytest.raises(ConfigError, match=r"'describe.weights' is 2024; expected text, in quotes"):
        load_config(Config, path)


def test_options_come_last_and_are_named_as_typed():
    options = {"--every": ("frames.every", 3)}
    assert load_config(Config, None, ["frames.every=2"], options=options).frames.every == 3
    with pytest.raises(ConfigError) as caught:
        load_config(Config, options={"--device": ("runtime.device", "gpu")})
    assert str(caught.value) == "--device gpu: expected one of auto, cpu, cuda"
