import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import check_writable, make_folder, output_error, write_json, write_together


def test_json_holds_null_for_what_is_no_finite_number(tmp_path):
    content = {"a": float("nan"), "b": [1.5, np.float64("inf"), (-np.inf, "NaN", None, True)], 3: {"c": 2}}
    write_json(tmp_path / "a.json", content)

    def refuse(word):
        raise AssertionError(word)

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read == {"a": None, "b": [1.5, None, [None, "NaN", None, True]], "3": {"c": 2}}


def test_a_look_at_a_place_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "clip.mp4").write_text("old")
    # Of a command that writes the same file, or was broken off.
    (tmp_path / "clip.mp4.partial").write_text("half")
    check_writable(tmp_path / "clip.mp4")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "clip.mp4": "old",
        "clip.mp4.partial": "half",
    }


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.png.partial").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "none" / "a.png", tmp_path / "a.png"):
        with pytest.raises(OutputError, match=r"a\.png: cannot be written \(.*\); choose another output folder"):
            check_writable(path)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "/a/b: No space left on device: the disk is full; free some space and repeat the command"),
        (errno.EACCES, "/a/b: cannot be written (Permission denied); choose another output folder"),
        (errno.ENOENT, "or repeat the command if this one was removed meanwhile"),
        (errno.EMFILE, "/a/b: too many open files ([Errno 24] Too many open files); raise the limit: ulimit -n"),
        (errno.ENOMEM, "/a/b: not enough memory ([Errno 12] Cannot allocate memory); free memory"),
    ],
)
def test_why_a_file_cannot_be_written_and_what_helps(number, says):
    assert says in str(output_error(Path("/a/b"), OSError(number, os.strerror(number))))


def test_a_folder_that_cannot_be_made(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b", parents=False)
    (tmp_path / "file").touch()
    for folder, parents in ((tmp_path / "file" / "c", True), (tmp_path / "gone" / "c", False)):
        with pytest.raises(OutputError, match=str(folder)):
            make_folder(folder, parents=parents)


def test_files_written_together_are_all_there_or_none(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "none" / "b.png"
    first.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"b\.png: cannot be written"):
        write_together({first: b"one", second: b"two"})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
    write_together({first: b"one", tmp_path / "b.png": b"two"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.png"]
