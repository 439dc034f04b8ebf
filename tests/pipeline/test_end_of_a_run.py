"""What ends a finished run: its coverage and its page, whose failure is told, and is none of the run."""

import errno
import json
import shutil
import time
from dataclasses import replace

import pytest
from conftest import moving_frames, write_video
from test_repeated_runs import DONE, known_methods, make_request

from dd_sfm.errors import OutputError, ReconstructionError, StoppedError
from dd_sfm.io.lock import locked
from dd_sfm.io.run_folder import REPORT
from dd_sfm.pipeline import run as running
from dd_sfm.pipeline.run import run
from dd_sfm.progress import silent
from dd_sfm.viz.report.after_run import report_on


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose stages are done, and not yet what ends it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        known_methods(patch)
        patch.setattr(running, "run_coverage", lambda run: {"measured_share": None})
        request = make_request(write_video(folder / "clip.avi", moving_frames()), folder / "run")
        run(request, silent, lambda _: None)
    return request


@pytest.fixture
def request_of(finished, tmp_path, monkeypatch):
    known_methods(monkeypatch)
    shutil.copytree(finished.out, tmp_path / "run")
    return replace(finished, out=tmp_path / "run")


FAILURES = [
    (ReconstructionError("no surface (the solver ended with -9)"), "no surface (the solver ended with -9)"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk"),
    (MemoryError(), "not enough memory"),
    (IndexError("index 0 is out of bounds"), "IndexError: index 0 is out of bounds"),
]


@pytest.mark.parametrize(("error", "said"), FAILURES)
def test_a_coverage_that_fails_is_a_note_and_tried_again(request_of, monkeypatch, error, said):
    def fail(run):
        raise error

    out, lines = request_of.out, list[str]()
    with monkeypatch.context() as patched:
        patched.setattr(running, "run_coverage", fail)
        metrics = run(request_of, silent, lines.append, lambda: (out / REPORT).write_text("page"))
    assert lines[-1].startswith("note: coverage not known: ")
    assert said in lines[-1]
    assert "repeat the command" in lines[-1]
    assert metrics["degradation_codes"][-1] == "coverage_unknown"
    assert said in metrics["coverage"]["reason"]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert not (out / "coverage.json").exists()
    assert "WARNING dd_sfm.pipeline.run: coverage not known" in (out / "run.log").read_text()
    lines.clear()
    pages = []
    metrics = run(request_of, silent, lines.append, lambda: pages.append((out / REPORT).exists()))
    assert lines == [*DONE, "coverage ..."]
    assert "coverage_unknown" not in metrics["degradation_codes"]
    # The page that says the coverage is not known is gone.
    assert pages == [False]


@pytest.mark.parametrize(("error", "said"), FAILURES)
def test_a_page_that_fails_is_told(request_of, error, said):
    def fail():
        raise error

    lines = list[str]()
    metrics = run(request_of, silent, lines.append, fail)
    assert metrics["points"] > 0
    assert lines[-1].startswith("note: report not written: ")
    assert said in lines[-1]
    assert "report not written" in (request_of.out / "run.log").read_text()


def test_a_stop_while_the_page_is_drawn_is_told_as_any_other(request_of):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(StoppedError, match=r"stopped; kept: frames, .*densify. Repeat the command to go on") as stopped:
        run(request_of, silent, report=stop)
    assert stopped.value.resumes


def test_nobody_comes_in_before_the_page(request_of):
    tried = []

    def come_in():
        with pytest.raises(OutputError, match="is writing to it"), locked(request_of.out):
            pass
        tried.append(1)

    run(request_of, silent, report=come_in)
    assert tried == [1]


def test_what_ends_a_run_counts_as_its_time_and_memory(request_of, monkeypatch):
    def draw():
        monkeypatch.setattr("dd_sfm.pipeline.metrics.memory_figures", lambda: {"peak_rss_mb": 9e9, "peak_gpu_mb": 0.0})
        time.sleep(0.05)
        (request_of.out / REPORT).write_text("page")

    metrics = run(request_of, silent, report=draw)
    assert metrics == json.loads((request_of.out / "metrics.json").read_text())
    *parts, total = metrics["seconds"].values()
    assert list(metrics["seconds"])[-3:] == ["coverage", "report", "total"]
    assert metrics["seconds"]["report"] >= 0.05
    assert total == pytest.approx(sum(parts), abs=0.01)
    assert metrics["peak_rss_mb"] == 9e9
    # A repeated run has done nothing of it again.
    again = run(request_of, silent)
    assert again["seconds"] == metrics["seconds"]
    assert again["peak_rss_mb"] == 9e9


def test_the_page_is_drawn_once(tmp_path, request_of, monkeypatch):
    pages = []
    monkeypatch.setattr("dd_sfm.viz.report.run_report.write_run_report", lambda run, title: pages.append(title))
    report_on(request_of, silent, lambda _: None)
    (request_of.out / REPORT).write_text("page")
    report_on(request_of, silent, lambda _: None)
    assert pages == [request_of.source.name]
