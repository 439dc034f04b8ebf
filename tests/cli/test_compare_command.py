"""dd-sfm compare from the command line: usage, refusals, and what it prints and writes."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from comparing import thinned, usual_runs
from plane import plane_model, write_run, write_truth

from dd_sfm.errors import ReconstructionError
from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.lock import locked
from dd_sfm.pipeline.compare import Outcome

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"


@pytest.fixture
def refused(dd_sfm, tmp_path, tiny_clip):
    def call(*arguments, says, code=1, out=tmp_path / "out"):
        ran = dd_sfm("compare", tiny_clip, "-o", out, "--device", "cpu", "--quiet", *arguments)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("dd-sfm: ")
        assert says in lines[0], lines[0]

    return call


@pytest.fixture
def ready(monkeypatch, tmp_path):
    """The runs are there already; only the comparison is made. Gives the names of runs that found no model."""
    usual_runs(tmp_path / "out")
    (tmp_path / "out" / "learned" / "stages.json").touch()
    failing = {}

    def run_all(request, progress, say):
        names = ["learned", "sift"]
        if set(names) <= failing.keys():
            raise ReconstructionError("no run found a model")
        return [Outcome(name, request.base.out / name, failing.get(name, "")) for name in names]

    monkeypatch.setattr("dd_sfm.api.run_all", run_all)
    return failing


def test_help_names_what_is_written(dd_sfm):
    ran = dd_sfm("compare", "--help")
    assert ran.code == 0
    assert "Example: dd-sfm compare" in ran.out
    for word in ("--sift", "--no-default-sift", "--reference", "--overwrite", "report.html"):
        assert word in ran.out


def test_table_and_verdict(dd_sfm, ready, tiny_clip, tmp_path):
    truth = write_truth(tmp_path / "truth")
    ran = dd_sfm("compare", tiny_clip, "-o", tmp_path / "out", "--reference", truth)
    assert ran.code == 0, ran.err
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    shown = " ".join(ran.out.split())
    assert content["verdict"] in shown
    assert shown.endswith(content["verdict"])
    assert f"{content['runs']['learned']['points']:,}" in ran.out
    assert "true error of a point, median [mm]" in ran.out
    assert ran.err.splitlines() == ["report ...", f"written: {tmp_path / 'out' / 'report.html'}"]
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 7


def test_what_went_less_well_is_told_with_the_run(dd_sfm, ready, unwritten, tiny_clip, tmp_path):
    path = tmp_path / "out" / "sift" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"degradations": ["2 of 14 frames left out as blurred"]}))
    ran = dd_sfm("compare", tiny_clip, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert re.search(r"note: SIFT.*: 2 of 14 frames left out as blurred", " ".join(ran.out.split()))


@pytest.fixture
def unwritten(monkeypatch):
    """The report is not drawn; gives what it would have been made of."""
    given = []

    def write(out, comparison, *, title):
        given.append((comparison, title))
        return out / "report.html"

    monkeypatch.setattr("dd_sfm.viz.report.write.write_report", write)
    return given


def test_quiet_prints_nothing(dd_sfm, ready, unwritten, tiny_clip, tmp_path):
    ran = dd_sfm("compare", tiny_clip, "-o", tmp_path / "out", "--quiet", "--sift", "strong")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    comparison, title = unwritten[0]
    assert comparison.column("sift").label == "SIFT, strong"
    assert title == tiny_clip.name


@pytest.mark.parametrize(("lost", "winner"), [("sift", "SIFT"), ("learned", "The learned descriptor")])
def test_a_run_without_a_model_is_said_in_a_line(dd_sfm, ready, unwritten, tiny_clip, tmp_path, lost, winner):
    ready[lost] = "no model from 16 frames"
    ran = dd_sfm("compare", tiny_clip, "-o", tmp_path / "out")
    assert ran.code == 0
    assert "no model. no model from 16 frames" in ran.out
    assert f"{winner} found no model" in ran.out


def test_a_second_comparison_in_the_same_folder_is_refused(refused, ready, tmp_path):
    with locked(tmp_path / "out"):
        refused(says=f"{tmp_path / 'out'}: another dd-sfm (process ")


def test_no_model_in_any_run(refused, ready):
    ready.update(learned="none", sift="none")
    refused(says="no run found a model")


def test_a_reference_that_cannot_be_read_is_said_before_the_work(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("--reference", tmp_path / "empty", says="neither truth.npz (rendered clip), motion.yaml (JHU sequence) nor")
    assert not (tmp_path / "out").exists()


def test_a_reference_that_does_not_fit(refused, ready, tmp_path):
    other = write_run(tmp_path / "other", thinned(plane_model(4.0), 1, frames=range(10)), first=500)
    refused("--reference", other, says="no frame in common with")
    refused("--reference", other, says=f"without figures against it: {tmp_path / 'out' / 'report.html'})")
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["runs"]["learned"]["truth"] is None
    (warning,) = content["warnings"]
    text = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert f"<strong>Warning.</strong> {warning}" in text
    assert f"not measured against {other}." in text
    assert "camera position error" not in text


def test_an_empty_cloud(refused, ready, tmp_path):
    folder = tmp_path / "out" / "sift" / "sparse" / "0"
    model = pycolmap.Reconstruction(str(folder))
    for point in list(model.points3D):
        model.delete_point3D(point)
    model.write_binary(str(folder))
    refused(says="the model of sift has no points; expected a cloud to compare. Repeat with --overwrite")


def test_usage(refused):
    refused("--sift", "weak", says="--sift weak: unknown; expected tuned or strong", code=2)
    refused(
        "--set", "sift.preset=default", says="sift.preset is 'default' in the configuration; expected --sift", code=2
    )
    refused("--set", "features=sift", says="features is 'sift' in the configuration; expected none", code=2)
    refused("--set", "sift.presett=1", says="did you mean 'sift.preset'?", code=2)


def test_folders_of_something_else(refused, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    refused("--overwrite", says="holds files that are not of a comparison", out=tmp_path / "thesis")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]
    (tmp_path / "file").write_text("mine")
    refused(says="is a file; expected a folder", out=tmp_path / "file")
    refused(says="cannot be written", out=tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_report_of_someone_else(refused, ready, tmp_path):
    (tmp_path / "out" / "report.html").write_text("mine")
    refused("--overwrite", says="report.html: exists and is not from dd-sfm compare; it is never replaced")
    assert (tmp_path / "out" / "report.html").read_text() == "mine"


def test_a_missing_video(refused, tmp_path, dd_sfm):
    ran = dd_sfm("compare", tmp_path / "none.mp4", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "none.mp4: not found; expected a video file" in ran.err


@pytest.mark.slow
def test_the_whole_on_a_part_of_the_demo_clip(dd_sfm, tmp_path):
    out = tmp_path / "out"
    command = (
        "compare", DEMO / "clip.mp4", "-o", out, "--calibration", DEMO / "calibration.txt", "--reference", DEMO,
        "--end", 24, "--quality", "preview", "--device", "cpu",
    )  # fmt: skip
    ran = dd_sfm(*command)
    assert ran.code == 0, ran.err
    content = json.loads((out / "report.json").read_text())
    runs = content["runs"]
    assert set(runs) == {"learned", "sift", "sift_default"}
    assert runs["learned"]["points"] == len(read_cloud(out / "learned" / "points.ply").xyz)
    assert runs["sift"]["points"] == runs["sift"]["metrics"]["points"]
    for name in ("learned", "sift"):
        metrics = runs[name]["metrics"]
        assert runs[name]["frames_registered"] == metrics["frames_registered"] == 24
        assert runs[name]["reprojection_median_px"] == pytest.approx(metrics["median_reprojection_error_px"], abs=2e-4)
        assert runs[name]["track_length_mean"] == pytest.approx(metrics["mean_track_length"], abs=0.01)
        assert runs[name]["best"]["true_error_median_mm"] > 0
    # Each run reports its own memory, not that of the process so far.
    assert runs["sift"]["metrics"]["peak_rss_mb"] != runs["learned"]["metrics"]["peak_rss_mb"]
    assert runs["sift"]["alignment"]["camera_distance_rms_pct_path"] < 5
    assert np.isfinite(runs["sift"]["truth"]["trajectory"]["ate_rms"])
    before = (out / "learned" / "points.ply").read_bytes()
    again = dd_sfm(*command)
    assert again.code == 0
    assert all("done before" in line for line in again.err.splitlines()[:-2])
    assert (out / "learned" / "points.ply").read_bytes() == before
