import pytest

from dd_sfm.errors import reason_of


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
