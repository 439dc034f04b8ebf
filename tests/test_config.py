import dataclasses
import typing
from pathlib import Path

import pytest

from dd_sfm.cli.options import ConfigOptions, resolve_config
from dd_sfm.config import Config, build_config, dump_config, load_config
from dd_sfm.config_checks import RANGES, check_config
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
        ("match.min_similarity=high", "expected a number"),
        ("match=3", "'match' is 3; expected a section"),
        ("frames.every=true", "expected a whole number"),
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


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("dense.every=0", "dense.every 0: expected 1 or more"),
        ("runtime.threads=-1", "runtime.threads -1: expected 1 or more"),
        ("match.chunk_queries=0", "match.chunk_queries 0: expected 1 or more"),
        ("pairs.offsets=[]", "pairs.offsets []: expected numbers, each 1 or more"),
        ("pairs.offsets=[1,0]", "pairs.offsets [1, 0]: expected numbers, each 1 or more"),
        ("pairs.reference_every=0", "pairs.reference_every 0: expected 1 or more"),
        ("dense.spacing_px=0", "dense.spacing_px 0.0: expected above 0"),
        ("map.min_registered=2", "map.min_registered 2.0: expected 0 to 1"),
        ("map.ladder=[]", "map.ladder []: expected one or more of global, incremental, relaxed"),
        ("map.focal_bounds=[2,1]", "map.focal_bounds [2.0, 1.0]: expected two numbers, the smaller first"),
    ],
)
def test_a_value_out_of_range(override, expected):
    with pytest.raises(ConfigError) as caught:
        resolve_config(ConfigOptions(overrides=[override]), {})
    assert str(caught.value) == expected


def test_every_number_has_a_range_that_holds_its_default():
    check_config(Config())
    numbers = {
        f"{section.name}.{name}"
        for section in dataclasses.fields(Config)
        if dataclasses.is_dataclass(getattr(Config(), section.name))
        for name, kind in typing.get_type_hints(type(getattr(Config(), section.name))).items()
        if {int, float} & {kind, *typing.get_args(kind)}
    }
    assert numbers == set(RANGES)


@pytest.mark.parametrize(("typed", "value"), [("1e-3", 0.001), ("2E2", 200.0), ("'0.5'", 0.5)])
def test_numbers_that_yaml_takes_for_text(typed, value):
    assert load_config(Config, None, [f"dense.max_uncertainty={typed}"]).dense.max_uncertainty == value


@pytest.mark.parametrize("typed", [".nan", "nan", ".inf", "-inf", "1e999"])
def test_numbers_are_finite(typed):
    with pytest.raises(ConfigError, match=r"'dense\.max_uncertainty' is .*; expected a finite number"):
        load_config(Config, None, [f"dense.max_uncertainty={typed}"])
