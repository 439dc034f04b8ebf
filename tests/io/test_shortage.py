import errno

import pytest
import torch

from dd_sfm.errors import InputError
from dd_sfm.io.shortage import full_disk, shortage


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
        (RuntimeError("can't start new thread"), "not enough memory, or room for processes"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU has not enough free memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "--device cpu"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b"),
        (RuntimeError("SQLite error: database or disk is full"), "free some space and repeat the command"),
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
