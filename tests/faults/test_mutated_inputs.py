"""Spoilt inputs are read or refused by one line; ``mutate_inputs.py`` tries more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mutate_inputs import KINDS, Bench, counts, try_inputs

QUICK = {
    "settings": 12,
    "calibration": 6,
    "clouds": 60,
    "surfaces": 60,
    "truth": 60,
    "masks": 50,
    "sequence": 12,
    "run": 2,
}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("kind", QUICK)
def test_spoilt_inputs(bench, kind):
    """Every one that was a fault is found again by its number: ``--kinds KIND --one NUMBER``."""
    found = [bench.run(kind, number, seed=0) for number in range(QUICK[kind])]
    assert [f"{o.number}: {o.done}: {o.found}" for o in found if o.result == "fault"] == []
    assert len(found) < 10 or any(o.result == "refused" for o in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_valid_inputs_are_read(bench, kind):
    assert bench.check_valid(kind) == []


@pytest.mark.slow
def test_spoilt_inputs_of_all_kinds_within_bounds(tmp_path):
    found = try_inputs(tmp_path, list(KINDS), 10 * len(KINDS), seed=1, commands=False)
    assert [f"{o.kind} {o.number}: {o.done}: {o.found}" for o in found if o.result == "fault"] == []
    print(counts(found))


def test_nothing_unpickles():
    """Files of NumPy's and of torch are read without pickle, everywhere."""
    package = Path(__file__).parents[2] / "dd_sfm"
    found = subprocess.run(
        ["grep", "-rnE", r"allow_pickle=True|pickle\.loads?\(|torch\.load\(|np\.load\(|yaml\.(load|unsafe_load)\(",
         "--include=*.py", str(package)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    ).stdout.splitlines()  # fmt: skip
    assert [line for line in found if "weights_only=True" not in line] == []
