import pytest
from faults.kill_runs import kill_often


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path):
    found = kill_often(tmp_path, kills=4, seed=1)
    assert [killed.wrong for killed in found] == [[]] * 4
