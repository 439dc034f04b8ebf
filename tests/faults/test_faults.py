"""A few of the faults that ``fault_runs.py`` tries, on a tiny run."""

import random

import pytest
from faults.commands import Bench
from faults.fault_runs import FAULTS


@pytest.mark.slow
def test_damaged_files_are_told_and_made_good_and_locks_may_be_missing(tmp_path):
    bench = Bench("reconstruct", tmp_path / "reconstruct")
    bench.measure()
    found = [tried for fault in ("damage", "locks") for tried in FAULTS[fault](bench, 2, random.Random(3))]
    assert [(tried.what, tried.wrong) for tried in found if tried.wrong] == []
    assert len(found) == 4
