import dataclasses
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest

import dd_sfm.config_values
from dd_sfm.cli.options import ConfigOptions, resolve_config
from dd_sfm.config import Config, build_config, dump_config, load_config
from dd_sfm.config_checks import RANGES, check_config, seconds_of
from dd_sfm.errors import ConfigError
from dd_sfm.io.run_config import write_config
from dd_sfm.presets import quality_config
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


def test_the_config_of_a_run_is_one_to_repeat_it_with(tmp_path):
    used = load_config(Config, None, ["frames.every=3", "runtime.deterministic=true", "camera.lens=rigid-30"])
    write_config(tmp_path, {**dump_config(used), "versions": {"python": "3.11"}, "device_used": "cpu"})
    assert load_config(Config, tmp_path / "config.yaml", base=quality_config("preview", where="")) == used


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("1:02:30", "1:02:30"), ("62:30", "62:30"), ("12.5s", "12.5s"), ("'5s'", "5s")]
)
def test_a_frame_is_given_by_its_number_or_its_time(tmp_path, text, value):
    path = tmp_path / "a.yaml"
    path.write_text(f"frames:\n  start: {text}\n")
    config = load_config(Config, path)
    assert config.frames.start == value
    assert load_config(Config, None, [f"frames.start={text}"]).frames.start == value
    check_config(config)
    assert build_config(Config, dump_config(config), where="test") == config


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("1:02:30", 3750), ("62:30", 3750), ("0:05.5", 5.5), ("12.5s", 12.5), ("12.5", None), ("1:75", None), ("x", None)],
)
def test_times(time, seconds):
    assert seconds_of(time) == seconds
    if seconds is None:
        with pytest.raises(ConfigError, match=r"frames.end .*: expected a frame number, or a time such as 1:02:30"):
            check_config(build_config(Config, {"frames": {"end": time}}, where="test"))


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
        ("map.mappers=[]", "map.mappers []: expected one or more of global, incremental, relaxed"),
        (
            "frames.crop=[-1,0,9,9]",
            "frames.crop [-1, 0, 9, 9]: expected x, y, width, height, none below 0 and no size of 0",
        ),
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


@pytest.fixture
def told(caplog):
    """What users were told of renamed keys; each test is told anew."""
    dd_sfm.config_values._tell_new_name.cache_clear()
    yield lambda: [record.getMessage() for record in caplog.records]
    dd_sfm.config_values._tell_new_name.cache_clear()


def test_keys_of_earlier_versions_in_a_file_are_read_and_told_once(tmp_path, told):
    path = tmp_path / "old.yaml"
    path.write_text("densify: {min_views: 4, passes: 1}\nmap: {ladder: [relaxed], min_inliers: 9}\n")
    config = load_config(Config, path)
    assert (config.triangulation.min_views, config.triangulation.passes) == (4, 1)
    assert (config.map.mappers, config.map.min_inliers) == (("relaxed",), 9)
    assert load_config(Config, path, base=config) == config
    assert told() == [
        f"{path}: densify is now triangulation; please rename it",
        f"{path}: map.ladder is now map.mappers; please rename it",
    ]


def test_keys_of_earlier_versions_in_set_are_read_and_told(told):
    config = load_config(Config, None, ["densify.min_views=4", "map.ladder=[global]"])
    assert config.triangulation.min_views == 4
    assert config.map.mappers == ("global",)
    assert told() == [
        "--set densify.min_views=4: densify.min_views is now triangulation.min_views; please rename it",
        "--set map.ladder=[global]: map.ladder is now map.mappers; please rename it",
    ]


def test_the_settings_of_an_earlier_versions_run_are_read_without_a_word(told):
    old = dump_config(load_config(Config, None, ["triangulation.min_angle_deg=2"]))
    old["densify"] = old.pop("triangulation")
    old["map"]["ladder"] = old["map"].pop("mappers")
    assert build_config(Config, old, where="config.yaml").triangulation.min_angle_deg == 2
    assert told() == []


def test_both_names_of_a_key_are_too_many(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text("densify: {min_views: 4}\ntriangulation: {passes: 1, min_views: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Config, path)
    assert str(caught.value) == (
        f"{path}: 'densify.min_views' is what 'triangulation.min_views' was called before, and both are there; "
        "expected one of them"
    )
    path.write_text("densify: {min_views: 4}\ntriangulation: {passes: 1}\n")
    assert load_config(Config, path).triangulation.min_views == 4


@pytest.mark.parametrize("override", ["densify.min_vievs=3", "densify.min_views=many", "densify=3"])
def test_wrong_values_of_earlier_keys_are_told_by_their_new_name(override):
    with pytest.raises(ConfigError, match="triangulation"):
        load_config(Config, None, [override])


def test_other_configurations_keep_their_own_names():
    @dataclass(frozen=True)
    class Own:
        densify: int = 1

    assert load_config(Own, None, ["densify=2"]).densify == 2


def test_every_key_that_was_renamed_leads_to_one_that_is_there():
    for old, new in dd_sfm.config_values.RENAMED_KEYS.items():
        assert dd_sfm.config_values._kind(Config, old) is None
        assert dd_sfm.config_values._kind(Config, new) is not None


def test_a_renamed_key_is_told_on_the_error_stream():
    script = (
        "from dd_sfm.cli import options as o; o.resolve_config(o.ConfigOptions(overrides=['densify.passes=1']), {})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stderr == "--set densify.passes=1: densify.passes is now triangulation.passes; please rename it\n"


def test_a_key_under_both_of_its_names_is_refused():
    for overrides in (
        ["map.ladder=[global]", "map.mappers=[relaxed]"],
        ["map.mappers=[relaxed]", "map.ladder=[global]"],
    ):
        with pytest.raises(ConfigError, match=r"'map\.ladder' is what 'map\.mappers' was called before"):
            load_config(Config, None, overrides)
    assert load_config(Config, None, ["map.ladder=[global]", "map.ladder=[relaxed]"]).map.mappers == ("relaxed",)


def test_an_unknown_key_of_a_renamed_section_is_not_said_to_be_renamed(caplog):
    with pytest.raises(ConfigError, match="unknown key"):
        load_config(Config, None, ["densify.nonsense=1"])
    assert caplog.records == []
