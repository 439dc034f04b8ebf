"""A few of the faults that ``fault_runs.py`` tries, on a tiny run."""

import random

import pytest
from faults.commands import Bench
from faults.fault_runs import FAULTS

QUICK = ("two", "damage", "twice")


@pytest.mark.slow
def test_faults_of_the_machine_end_in_a_line_and_lose_nothing(tmp_path):
    bench = Bench("reconstruct", tmp_path / "reconstruct")
    bench.measure()
    found = [tried for name in QUICK for tried in FAULTS[name](bench, 1, random.Random(3))]
    assert [(tried.what, tried.wrong) for tried in found if tried.wrong] == []
    assert len(found) == len(QUICK)
