"""kill ends a command as Ctrl-C does, also after COLMAP was imported, which sets a handler of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dd_sfm.cli.signals import interrupted_by_sigterm
from dd_sfm.errors import StoppedError, stoppable
from dd_sfm.io.atomic import write_bytes

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=ENVIRONMENT,
    )  # fmt: skip


def test_no_module_leaves_colmaps_handler():
    # Each in a copy of a process that has imported what takes long, and COLMAP not.
    script = """
import importlib, os, signal, sys, time
import cv2, scipy.optimize, torch, dd_sfm.structures

assert "pycolmap" not in sys.modules
for module in ("io.colmap_database", "io.colmap_source", "io.lens", "sfm.mapping"):
    if os.fork() == 0:
        importlib.import_module(f"dd_sfm.{module}")
        assert module == "io.lens" or "pycolmap" in sys.modules
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)
        os._exit(0)
    print(module, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
    out, err = start("-c", script).communicate(timeout=60)
    ended = [
        f"{name} {-signal.SIGTERM}" for name in ("io.colmap_database", "io.colmap_source", "io.lens", "sfm.mapping")
    ]
    assert (out.splitlines(), err) == (ended, "")


def test_a_killed_command_that_has_imported_colmap_says_one_line():
    script = """
import os, signal, sys, time
from dd_sfm.cli import app, shows
shows.SILENCE_S = shows.FIRST_S = float('inf')

def work():
    import dd_sfm.io.colmap_source
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)

app.app.command(name="work")(work)
sys.argv = ["dd-sfm", "work"]
app.main()
"""
    done = start("-c", script)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out, err) == (
        143,
        "",
        "stopping ...\ndd-sfm: stopped; repeat the command to start again\n",
    )


def test_a_stop_is_confirmed_while_compiled_code_goes_on():
    # A call of compiled code that has released the interpreter: handlers of signals wait until it returns.
    script = """
import hashlib, sys
from dd_sfm.cli import app, shows
shows.SILENCE_S = shows.FIRST_S = float('inf')

def work():
    print("working", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)

app.app.command(name="work")(work)
sys.argv = ["dd-sfm", "work"]
app.main()
"""
    running = start("-c", script)
    assert running.stderr.readline() == "working\n"
    sent = time.monotonic()
    running.send_signal(signal.SIGTERM)
    assert running.stderr.readline() == "stopping ...\n"
    confirmed = time.monotonic()
    assert running.communicate(timeout=60)[1].startswith("dd-sfm: stopped; ")
    assert confirmed - sent < (time.monotonic() - sent) / 2


def test_a_second_signal_ends_at_once_but_not_one_passed_on():
    script = """
import signal, subprocess, sys, time
from dd_sfm.cli import app, shows
shows.SILENCE_S = shows.FIRST_S = float('inf')

def work():
    # As compiled code does that goes on.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    print(child.pid, file=sys.stderr, flush=True)
    time.sleep(60)

app.app.command(name="work")(work)
sys.argv = ["dd-sfm", "work"]
app.main()
"""
    running = start("-c", script)
    child = int(running.stderr.readline())
    for _ in range(2):
        running.send_signal(signal.SIGINT)
    assert running.stderr.readline() == "stopping ...\n"
    time.sleep(0.5)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=10)
    ended = "dd-sfm: ended at once; what is finished is kept. Repeat the command to go on\n"
    assert (running.returncode, out, err) == (130, "", ended)
    # Where nothing collects processes that have ended, it stays in the list.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["frames", "describe"])
def test_a_killed_reconstruction_leaves_no_partial_file(tiny_clip, tmp_path, stage):
    run = tmp_path / "run"
    done = start("-m", "dd_sfm", "reconstruct", tiny_clip, "-o", run, "--device", "cpu")
    for line in done.stderr:
        if line.startswith(f"{stage} ..."):
            done.send_signal(signal.SIGTERM)
            break
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (143, ""), err
    err = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("  "))
    # It may come before the stage has begun.
    confirmed, err = err.split("\n", 1)
    assert confirmed == "stopping ..."
    assert re.fullmatch(rf"dd-sfm: {re.escape(str(run))}: stopped( in {stage})?; kept: .*to go on\n", err)
    assert [path for path in run.rglob("*") if ".partial" in path.name] == []


def test_a_file_that_is_broken_off_leaves_nothing(tmp_path, monkeypatch):
    def stop(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"content")
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_a_run_like_ctrl_c():
    def work():
        with stoppable(lambda: "stopped; kept: nothing yet"), interrupted_by_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="kept") as stopped:
        work()
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_forked_meanwhile_does_not_hold_up_the_end():
    with interrupted_by_sigterm():
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
