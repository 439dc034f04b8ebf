import pytest

from dd_sfm.__main__ import main
from dd_sfm.errors import listed, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory", "nose.stl"), "not found"),
        (PermissionError(13, "Permission denied", "nose.stl"), "Permission denied"),
        (OSError("too large"), "too large"),
        (KeyError("scale"), "no 'scale'"),
        (ValueError("line 3 has 2 values"), "line 3 has 2 values"),
    ],
)
def test_reasons_are_words_without_numbers_of_the_system(error, reason):
    assert reason_of(error) == reason


def test_ctrl_c_while_modules_are_loaded_is_one_line(monkeypatch, capsys):
    def stop(*_args, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr("dd_sfm.cli.app.main", stop)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "dd-sfm: stopped; repeat the command to start again\n"


def test_of_many_names_the_first_are_listed():
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c"], 2) == "a, b, ..."
