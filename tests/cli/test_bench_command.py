"""The command line of the benchmark."""

import json

import pytest
import torch

from dd_sfm.benchmark.stages import PARTS


@pytest.fixture
def refused(dd_sfm):
    """Runs a command that must fail in one line that says something."""

    def run(*arguments, says, code=1):
        ran = dd_sfm(*arguments)
        assert (ran.code, ran.out) == (code, "")
        assert says in ran.err

    return run


def test_bench_looks_at_what_it_is_given_before_it_measures(dd_sfm, refused, tmp_path):
    refused("bench", "-o", tmp_path / "none" / "bench.json", says="cannot be written")
    (tmp_path / "bench.json").write_text("mine")
    refused("bench", "-o", tmp_path / "bench.json", says="exists; expected a new file")
    assert (tmp_path / "bench.json").read_text() == "mine"
    refused("bench", "-o", tmp_path / "bench.png", says="expected a file name that ends in .json", code=2)
    refused("bench", "--only", "matrix,gahter", says="no part is called 'gahter'; did you mean 'gather'?", code=2)
    refused("bench", "--only", ",", says="names no part; expected some of matrix, gather", code=2)
    refused("bench", tmp_path, says="metrics.json: missing")


def test_bench_names_all_its_parts(dd_sfm):
    said = dd_sfm("bench", "--help").out
    assert all(part in said for part in PARTS)


def test_bench_measures_what_is_asked_for(dd_sfm, tmp_path):
    ran = dd_sfm("bench", "--only", "disk", "--quick", "--json", tmp_path / "bench.json", "--device", "cpu")
    assert ran.code == 0
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [["disk,", "write"], ["disk,", "read"]]
    assert [row["name"] for row in json.loads((tmp_path / "bench.json").read_text())["rows"]] == [
        "disk, write",
        "disk, read",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_bench_names_a_gpu_that_is_missing(refused):
    refused("bench", "--device", "cuda", says="--device cuda: no CUDA device found by torch; expected one")


def test_bench_tells_where_the_time_of_runs_went(dd_sfm, tmp_path):
    for name, frames in (("a", 50), ("b", 100)):
        (tmp_path / name).mkdir()
        metrics = {"frames_used": frames, "seconds": {"match": frames / 2, "total": frames / 2}}
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    ran = dd_sfm("bench", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "times.png")
    assert ran.code == 0
    assert ran.out.splitlines()[-1].split() == ["exponent", "of", "frames", "1.00", "1.00"]
    assert (tmp_path / "times.png").is_file()
