import pytest
from faults.commands import COMMANDS, differences
from faults.kill_runs import kill_often


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path):
    found = kill_often(tmp_path, kills=2, seed=1, times=1)
    assert [killed.wrong for killed in found] == [[]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["calibrate", "train"])
def test_other_commands_killed_at_any_moment_do_too(tmp_path, command):
    found = kill_often(tmp_path, kills=1, seed=4, command=command, times=1)
    assert [killed.wrong for killed in found] == [[]]


def test_results_that_differ_are_told():
    others = {"localize", "merge", "register"}
    assert set(COMMANDS) == {"reconstruct", "compare", "batch", "synth", "train", "calibrate", "convert", *others}
    expected = {"points": 1000, "frames": [0, 3]}
    assert differences({"points": 1004, "frames": [0, 3]}, expected) == []
    assert len(differences({"points": 1006, "frames": [0]}, expected)) == 2
