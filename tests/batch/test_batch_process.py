"""The process of a video: how it ends, and that it never outlives what started it."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from dd_sfm.batch import process
from dd_sfm.batch.process import run_process, stop_batch
from dd_sfm.batch.task import Command, Ending, Input, VideoTask
from dd_sfm.batch.work import do_video


def ran(code, **more):
    return run_process(["-c", code], {}, **{"call": "one", **more})


def test_a_process_that_ends_well_is_done():
    ended = ran("print('x')")
    assert (ended.ending, ended.error) == (Ending.DONE, "")


def test_the_last_word_of_a_command_is_the_reason():
    ended = ran("import sys; sys.exit('warning: odd\\ndd-sfm: clip.mp4: broken\\nno more')")
    assert (ended.ending, ended.error) == (Ending.FAILED, "clip.mp4: broken")
    assert ran("import sys; sys.exit('Usage: x')").error == "Usage: x"
    assert ran("import sys; sys.exit(3)").error == "ended with code 3 and no word"


def test_a_killed_process_is_told_apart_from_a_failed_one():
    ended = ran("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert ended.ending is Ending.KILLED
    assert ended.error == "its process was ended by SIGKILL: the system may have been short of memory"


def test_environment_is_that_of_the_worker_with_changes(monkeypatch):
    code = "import os, sys; sys.exit(os.environ['A'] + os.environ['B'])"
    monkeypatch.setenv("A", "a")
    assert run_process(["-c", code], {"B": "b"}, call="one").error == "ab"


@pytest.mark.slow
def test_time_that_is_over_ends_a_process_and_those_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    note = tmp_path / "pid"
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    ended = ran(code, timeout_s=1.5)
    assert ended.ending is Ending.FAILED
    assert "not done after 1.5 s" in ended.error
    time.sleep(0.1)
    child = int(note.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_stopped_batch_ends_its_processes_and_lets_none_begin():
    threading.Timer(0.6, stop_batch, ["stopped"]).start()
    started = time.monotonic()
    assert ran("import time; time.sleep(60)", call="stopped").ending is Ending.STOPPED
    assert time.monotonic() - started < 10
    assert ran("import time; time.sleep(60)", call="stopped").ending is Ending.STOPPED
    assert ran("pass", call="other").ending is Ending.DONE


def test_a_machine_without_room_for_a_process_fails_the_video_with_a_line(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("dd_sfm.batch.process.subprocess.Popen", refuse)
    outcome = do_video(VideoTask("a", Command.EXTRACT, (), (), str(tmp_path / "a")))
    assert outcome.ending is Ending.FAILED
    assert "not enough memory ([Errno 12] Cannot allocate memory); free memory" in outcome.error


def test_the_process_of_a_video_ends_with_a_killed_worker(tmp_path):
    note = tmp_path / "pid"
    child = (
        "import os, sys, time; from dd_sfm.cli.video_process import end_with; end_with(int(sys.argv[1]));"
        f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    worker = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    started = subprocess.Popen([sys.executable, "-c", worker])
    deadline = time.monotonic() + 60
    while not (note.is_file() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    number = int(note.read_text())
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("clip.mp4", errno.EACCES, "clip.mp4: cannot be used (Permission denied); expected what can be read"),
        ("clip.mp4", errno.ENOENT, "clip.mp4: cannot be used (not found); expected what can be read"),
        (
            "out/run.log",
            errno.EACCES,
            "out/run.log: cannot be written (Permission denied); choose another output folder",
        ),
        ("out/run.log", errno.ENOSPC, "the disk is full; free some space"),
    ],
)
def test_an_input_that_cannot_be_read_is_not_told_as_an_output(monkeypatch, tmp_path, name, number, says):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number), str(tmp_path / name))

    monkeypatch.setattr("dd_sfm.batch.work.run_process", fail)
    task = VideoTask("a", Command.EXTRACT, (Input("", str(tmp_path / "clip.mp4")),), (), str(tmp_path / "out"))
    assert says in do_video(task).error
