import errno
import os
import platform
import subprocess
import sys
import time

import pytest

from dd_sfm.errors import OutputError
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.io.run_layout import locked_if_run

HOLD = """
import sys, time
from pathlib import Path
from dd_sfm.io.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_in_a_line_that_names_the_first(other, tmp_path):
    with pytest.raises(OutputError) as caught, locked(tmp_path):
        pass
    assert str(caught.value) == (
        f"{tmp_path}: another dd-sfm (process {other.pid}) is writing to it; wait until it is done, or choose another "
        "folder with -o"
    )


def test_the_lock_of_a_killed_process_is_gone(other, tmp_path):
    other.kill()
    other.wait()
    with locked(tmp_path):
        pass


def test_one_after_the_other_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path), pytest.raises(OutputError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [LOCK]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), locked(tmp_path / "none"):
        pass


def test_what_is_no_run_is_not_locked(other, tmp_path):
    with locked_if_run(tmp_path), locked_if_run(tmp_path / "none"):
        pass
    (tmp_path / "stages.json").touch()
    with pytest.raises(OutputError, match="another dd-sfm"), locked_if_run(tmp_path):
        pass


def test_refusal_does_not_wait(other, tmp_path):
    started = time.monotonic()
    with pytest.raises(OutputError), locked(tmp_path):
        pass
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_the_content_tells_whether_its_process_is_at_work(tmp_path, monkeypatch, caplog, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dd_sfm.io.lock.fcntl.flock", refuse)
    with locked(tmp_path), pytest.raises(OutputError, match="another dd-sfm"), locked(tmp_path):
        pass
    assert "no lock on this file system" in caplog.text
    # A process that was killed, whose number another one has now, and one of another machine.
    node = platform.node()
    for left, says in ((f"{os.getpid()} 1 {node}", ""), (f"9999999 5 {node}", ""), ("7 5 other", "process 7 on other")):
        caplog.clear()
        (tmp_path / LOCK).write_text(left)
        with locked(tmp_path):
            pass
        assert says in caplog.text
