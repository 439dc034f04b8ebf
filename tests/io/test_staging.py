import json

import pytest

from dd_sfm.errors import OutputError
from dd_sfm.io.lock import LOCK
from dd_sfm.io.staging import staged_folder

MARKER, RECORD = "made.json", {"made_by": "a test"}


def fill(folder, name, *, overwrite=False):
    with staged_folder(folder, MARKER, RECORD, overwrite=overwrite) as staging:
        (staging / name).write_text(name)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_second_process_is_refused_and_takes_nothing_from_the_first(tmp_path):
    out = tmp_path / "out"
    with staged_folder(out, MARKER, RECORD, overwrite=False) as staging:
        (staging / "a.txt").write_text("a")
        with pytest.raises(OutputError, match=f"^{out}: another dd-sfm .* is writing to it"):
            fill(out, "b.txt")
        assert (staging / "a.txt").read_text() == "a"
    assert names(out) == ["a.txt", MARKER]
    assert json.loads((out / MARKER).read_text())["files"] == ["a.txt"]


def test_what_a_killed_process_left_goes_and_its_lock_holds_nobody(tmp_path):
    left = tmp_path / f".{MARKER}.partial"
    (left / "deep").mkdir(parents=True)
    for name in ("old.txt", "deep/old.txt", LOCK):
        (left / name).write_text("1 2 elsewhere")
    fill(tmp_path, "new.txt")
    assert names(tmp_path) == [MARKER, "new.txt"]


def test_a_link_in_the_place_of_the_temporary_folder_is_refused(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / f".{MARKER}.partial").symlink_to(other)
    with pytest.raises(OutputError, match="a link to"):
        fill(out, "a.txt")
    assert names(other) == ["mine.txt"]


def test_after_an_error_nothing_is_left(tmp_path):
    with pytest.raises(ZeroDivisionError), staged_folder(tmp_path / "out", MARKER, RECORD, overwrite=False):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
