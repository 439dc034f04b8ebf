import errno
import sqlite3
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from dd_sfm.errors import InputError, ShortageError
from dd_sfm.io.image_files import read_header, read_levels
from dd_sfm.io.shortage import full_disk, raise_if_short, shortage
from dd_sfm.io.video_packets import open_container


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory"),
        (MemoryError("std::bad_alloc"), "not enough memory (std::bad_alloc); free memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
            "--quality preview",
        ),
        (
            RuntimeError("OpenCV(4.12) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate"),
            "not enough memory",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (ImportError("first\nlibtorch.so: failed to map segment from shared object"), "(libtorch.so: failed to map"),
        (RuntimeError("could not create a primitive"), "not enough memory (could not create a primitive)"),
        (RuntimeError("can't start new thread"), "not enough memory, or room for processes"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU has not enough free memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "--device cpu"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b"),
        (
            RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "),
            "a process of this command was ended",
        ),
        (BrokenProcessPool("A process in the process pool was terminated abruptly while"), "--quality preview"),
        (RuntimeError("SQLite error: database or disk is full"), "free some space and repeat the command"),
        (sqlite3.OperationalError("database or disk is full"), "free some space and repeat the command"),
    ],
)
def test_what_a_machine_lacks_is_named(error, says):
    found = shortage(error, "run: match")
    assert found is not None
    assert str(found).startswith("run: match: ")
    assert says in str(found)
    assert len(str(found).splitlines()) == 1
    # Also behind an error of another kind.
    outer = ValueError("something else")
    outer.__cause__ = error
    assert shortage(outer, "run: match") is not None


@pytest.mark.parametrize(
    "error", [ValueError("memory"), KeyError("x"), RuntimeError("other"), InputError("out of memory")]
)
def test_other_errors_are_none(error):
    assert shortage(error, "here") is None


def test_an_error_on_a_full_disk_is_told_as_that(tmp_path, monkeypatch):
    error = RuntimeError("No registered database factory succeeded.")
    assert full_disk(error, "run: map", tmp_path) is None
    monkeypatch.setattr("dd_sfm.io.shortage.shutil.disk_usage", lambda path: type("Usage", (), {"free": 4096})())
    assert "run: map: No space left: the disk is full, 4 kB free (No registered" in str(
        full_disk(error, "run: map", tmp_path)
    )
    assert full_disk(error, "run: map", tmp_path / "none") is not None


def test_a_file_that_there_is_no_memory_for_is_not_called_damaged(tmp_path, monkeypatch):
    video, image = tmp_path / "clip.mp4", tmp_path / "frame.png"
    video.write_bytes(b"no video")
    image.write_bytes(b"\x89PNG no image IEND")
    readers = [(open_container, video), (read_levels, image), (read_header, image)]
    for read, path in readers:
        with pytest.raises(InputError, match="decoded"):
            read(path)
    monkeypatch.setattr("dd_sfm.io.shortage.A_PICTURE", 2**60)
    for read, path in readers:
        with pytest.raises(ShortageError, match="not enough memory; free memory") as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_opened_for_want_of_room_is_not_called_damaged(tmp_path):
    raise_if_short("a.png", OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(ShortageError, match=r"a.png: too many open files .* ulimit -n"):
        raise_if_short("a.png", OSError(errno.EMFILE, "Too many open files"))
