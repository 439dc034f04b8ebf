import json

import numpy as np
import pytest
from converting import write_small_run


@pytest.fixture
def run(tmp_path):
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def refused(dd_sfm):
    """Runs convert, and checks that it fails with one line that holds a text."""

    def call(*arguments, says, code=1):
        ran = dd_sfm("convert", *arguments)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert says in lines[0], lines[0]

    return call


def test_help_has_an_example(dd_sfm):
    ran = dd_sfm("convert", "--help")
    assert ran.code == 0
    assert "Example: dd-sfm convert" in ran.out


@pytest.mark.parametrize("target", ["colmap", "colmap-text", "jhu", "nerfstudio", "hloc", "ply", "tum"])
def test_every_target_says_what_it_wrote(dd_sfm, run, tmp_path, target):
    out = tmp_path / "out" / target
    ran = dd_sfm("convert", run, "-o", out, "--to", target)
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1].startswith(f"{target}: {out}, 15 images with a pose")
    record = json.loads((out / "convert.json").read_text())
    assert record["target"] == target
    assert all((out / name).is_file() for name in record["files"])
    assert not list(out.glob(".*"))
    again = dd_sfm("convert", run, "-o", out, "--to", target, "--overwrite", "--quiet")
    assert (again.code, again.out, again.err) == (0, "", "")


def test_bad_input_is_one_clear_line(refused, run, tmp_path):
    out = tmp_path / "out"
    refused(run, "-o", out, "--to", "colmpa", says="--to colmpa: unknown; expected one of colmap, colmap-text", code=2)
    refused(run, "-o", run, "--to", "ply", "--overwrite", says="is the source itself", code=2)
    refused(run, "-o", tmp_path / "x.ply", "--to", "ply", "--copy-images", says="x.ply is a file", code=2)
    refused(tmp_path / "none", "-o", out, "--to", "ply", says="not found; expected a run folder")
    refused(run / "frames", "-o", out, "--to", "ply", says="no model found")
    refused(run, "-o", out, "--to", "jhu", "--images", tmp_path / "none", says="none: not a folder")
    (tmp_path / "empty").mkdir()
    refused(run, "-o", out, "--to", "jhu", "--images", tmp_path / "empty", says="15 of 15 images not found")
    refused(run, "-o", out, "--to", "colmap", "--images", tmp_path / "empty", "--copy-images", says="images not found")
    file = tmp_path / "file"
    file.touch()
    refused(run, "-o", file, "--to", "colmap", says="is a file; expected a folder")
    refused(run, "-o", file / "deep", "--to", "colmap", says="cannot be written")
    refused(run, "-o", file / "deep.ply", "--to", "ply", says="cannot be written")
    (run / "database.db").write_text("no database")
    refused(run, "-o", out, "--to", "hloc", says="database.db: cannot be read")
    (run / "frames.json").write_text("[]")
    refused(run, "-o", out, "--to", "tum", says="frames.json: damaged")
    assert not out.exists()


def test_a_folder_or_file_that_holds_something_needs_overwrite(dd_sfm, refused, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    refused(run, "-o", out, "--to", "tum", says="not empty; expected a new or empty folder")
    assert dd_sfm("convert", run, "-o", out, "--to", "tum", "--overwrite").code == 0
    assert (out / "mine.txt").read_text() == "mine"
    path = tmp_path / "path.txt"
    assert dd_sfm("convert", run, "-o", path, "--to", "tum").code == 0
    refused(run, "-o", path, "--to", "tum", says="exists; expected a new file")
    assert dd_sfm("convert", run, "-o", path, "--to", "tum", "--overwrite").code == 0
    assert np.loadtxt(path).shape == (15, 8)


@pytest.mark.parametrize("content", [b"", b"ply\nformat ascii 1.0\nelement", bytes(300)])
def test_a_damaged_cloud_beside_a_model_costs_only_what_it_alone_knows(dd_sfm, run, tmp_path, content):
    assert dd_sfm("convert", run, "-o", tmp_path / "whole.ply", "--to", "ply").code == 0
    (run / "points.ply").write_bytes(content)
    ran = dd_sfm("convert", run, "-o", tmp_path / "part.ply", "--to", "ply")
    assert ran.code == 0, ran.err
    note, done = ran.err.splitlines()
    assert note.startswith(f"note: {run / 'points.ply'}: not a PLY with vertices")
    assert note.endswith("the cloud is made from the model and knows no uncertainty")
    assert "15 images with a pose" in done
    assert (tmp_path / "part.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()


def test_evo_reads_the_path(dd_sfm, run, tmp_path):
    evo = pytest.importorskip("evo.tools.file_interface", reason="needs evo")
    assert dd_sfm("convert", run, "-o", tmp_path / "path.tum", "--to", "tum").code == 0
    path = evo.read_tum_trajectory_file(tmp_path / "path.tum")
    assert path.check()[0]
    assert path.num_poses == 15
