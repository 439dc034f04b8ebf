"""How commands end for those who read what they print: by one last line of one process, quietly where none reads."""

import gc
import json
import multiprocessing
import os
import sys
import threading
import time

import pytest

from dd_sfm.cli import console, reporter, shows
from dd_sfm.cli.app import UNREAD
from dd_sfm.cli.reporter import Reporter, reporting
from dd_sfm.cli.train import _show_network
from dd_sfm.training.config import TrainConfig


@pytest.fixture
def close_output(monkeypatch):
    """Makes standard output a pipe whose reader has gone; in the test, as what it is before is set anew."""
    opened = []

    def make():
        theirs, ours = os.pipe()
        os.close(theirs)
        opened.append(os.fdopen(ours, "w"))
        monkeypatch.setattr(sys, "stdout", opened[0])
        return opened[0]

    yield make
    for stream in opened:
        # Python's own look at its end: what is left to write goes nowhere.
        stream.close()


def test_an_error_that_is_debugged_has_an_end_too(dd_sfm, tmp_path):
    ran = dd_sfm("mesh", tmp_path / "nothing", "--debug", "--json")
    end = json.loads(ran.out.splitlines()[-1])
    assert (ran.code, end["event"], end["code"]) == (1, "end", 1)
    assert ran.err.startswith("Traceback")
    assert ran.err.splitlines()[-1] == f"dd-sfm: {end['error']}"


def test_where_nobody_reads_a_command_ends_quietly(dd_sfm, close_output, tmp_path):
    unread = close_output()
    ran = dd_sfm("mesh", tmp_path / "nothing", "--json")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    # What is still written, as by Python at its end, goes nowhere.
    print("more", file=unread, flush=True)


def test_a_command_whose_reader_goes_while_it_works_says_nothing_of_it(dd_sfm, close_output, tmp_path, monkeypatch):
    def work(*arguments, **options):
        console.make_say(quiet=False)("frames ...")

    monkeypatch.setattr("dd_sfm.cli.mesh._open_cloud", work)
    close_output()
    ran = dd_sfm("mesh", tmp_path / "run", "--json")
    assert (ran.code, ran.err) == (UNREAD, "")


def test_a_broken_pipe_of_another_kind_is_told(dd_sfm, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("dd_sfm.cli.mesh._open_cloud", fail)
    ran = dd_sfm("mesh", tmp_path / "run")
    assert ran.code == 1
    assert "unexpected RuntimeError: [Errno 32] Broken pipe to another process" in ran.err


def test_of_a_training_by_several_processes_the_first_speaks(monkeypatch, capsys):
    for rank, lines in (("0", 2), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with reporting(["train", "--json"]) as made:
            console.make_say(quiet=False)("epoch")
            assert not console.has_tables(quiet=False)
            made.end(0)
        assert len(capsys.readouterr().out.splitlines()) == lines


def test_the_network_is_shown_in_json_as_messages(monkeypatch, capsys):
    monkeypatch.setattr(reporter, "_current", Reporter(shows.JsonLines()))
    _show_network(TrainConfig(), quiet=False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"message"}
    assert lines[0]["text"].startswith("CompactNet(")
    assert "parameters" in lines[-1]["text"]


def test_a_forked_process_can_speak_whatever_was_shown_as_it_began(monkeypatch):
    made = Reporter(shows.Nothing())
    monkeypatch.setattr(reporter, "_current", made)
    holds = threading.Event()

    def show():
        with made._lock:
            holds.set()
            time.sleep(0.1)

    thread = threading.Thread(target=show)
    thread.start()
    holds.wait()
    worker = multiprocessing.get_context("fork").Process(target=made.say, args=("from a worker",))
    worker.start()
    worker.join(10)
    thread.join()
    is_alive = worker.is_alive()
    worker.kill()
    assert not is_alive
    assert worker.exitcode == 0
    # And the process that forked goes on.
    threading.Thread(target=made.say, args=("on",)).start()
    assert made._lock.acquire(timeout=5)
    made._lock.release()


def test_where_memory_is_limited_a_bug_can_be_seen(monkeypatch):
    monkeypatch.setattr("dd_sfm.cli.app.address_space_warning", lambda: "ulimit -v leaves 1.0 GB")
    from dd_sfm.cli.app import explain

    assert "run again with --debug" in explain(ZeroDivisionError("a"))[0]


def test_a_command_ends_without_a_last_search_for_cycles(dd_sfm, monkeypatch):
    registered = []
    monkeypatch.setattr("dd_sfm.cli.app.atexit.register", registered.append)
    assert dd_sfm("--version").code == 0
    assert registered == [gc.freeze]
