"""What every format of ``dd-sfm convert`` keeps to, one that is added later too."""

import json
import re
from importlib.util import find_spec

import pytest
from converting import write_small_run

from dd_sfm.errors import ConfigError
from dd_sfm.export.convert import MARKER, convert
from dd_sfm.export.formats import FORMATS

PACKAGES = {"las": "laspy", "usd": "pxr", "e57": "pye57"}
"""Extras that formats need."""


def writable(names):
    """Parameters of formats, skipped where their package is not installed."""
    missing = {name for name in names if name in PACKAGES and find_spec(PACKAGES[name]) is None}
    return [pytest.param(n, marks=pytest.mark.skipif(n in missing, reason="an extra is not installed")) for n in names]


@pytest.fixture
def run(tmp_path):
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("target", writable(FORMATS))
def test_every_format_fills_a_folder_and_lists_its_files(run, tmp_path, target):
    done = convert(run, tmp_path / "out", target)
    record = json.loads((tmp_path / "out" / MARKER).read_text())
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert record["target"] == target
    assert len(written) > 1
    assert set(record["files"]) == written - {MARKER}
    assert all(isinstance(note, str) and note for note in done.notes)


@pytest.mark.parametrize("target", writable([name for name, form in FORMATS.items() if form.file]))
def test_a_format_of_one_file_is_known_again(run, tmp_path, target):
    kind = FORMATS[target].file
    for suffix in kind.suffixes:
        path = tmp_path / f"out{suffix}"
        convert(run, path, target)
        convert(run, path, target, overwrite=True)
        with path.open("rb") as file:
            assert kind.is_one(file)


@pytest.mark.parametrize("target", FORMATS)
def test_the_help_names_every_format(dd_sfm, target):
    words = re.split(r"[\s,.:]+", dd_sfm("convert", "--help").out)
    assert words.count(target) >= 2, "both in the description and at --to"


@pytest.mark.parametrize("target", [name for name, form in FORMATS.items() if form.file])
def test_a_name_that_ends_like_another_format_is_refused(run, tmp_path, target):
    for other, form in FORMATS.items():
        if other == target or (form.file and set(form.file.suffixes) & set(FORMATS[target].file.suffixes)):
            continue
        path = tmp_path / f"out{FORMATS[target].file.suffixes[0]}"
        with pytest.raises(ConfigError, match=f"--to {other} does not write .* files, --to {target} does"):
            convert(run, path, other)
        assert not path.exists()


@pytest.mark.parametrize("name", ["x.obj", "x.STL", "x.json", "x.png"])
@pytest.mark.parametrize("target", ["ply", "colmap"])
def test_no_folder_is_named_like_a_file(run, tmp_path, target, name):
    with pytest.raises(ConfigError, match=rf"--to {target} does not write \.\w+ files; expected a folder"):
        convert(run, tmp_path / name, target)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()
    assert convert(run, tmp_path / name, target).path == tmp_path / name
