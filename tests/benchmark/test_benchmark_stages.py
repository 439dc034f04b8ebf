"""A benchmark of tiny sizes, and its scene."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dd_sfm.benchmark.dense_stages import dense_tasks
from dd_sfm.benchmark.first_calls import first_call_seconds
from dd_sfm.benchmark.limits import matrix_tasks
from dd_sfm.benchmark.report import benchmark_json, table
from dd_sfm.benchmark.scene import disturbed_model, make_scene
from dd_sfm.benchmark.stages import PARTS, QUICK, run_benchmark
from dd_sfm.config import Config
from dd_sfm.errors import ReconstructionError
from dd_sfm.mvs.depth_maps import depth_map
from dd_sfm.mvs.views import choose_views
from dd_sfm.progress import silent

TINY = replace(
    QUICK, rounds=1, seconds=0, size=160, points=300, patches=50, matrix_side=32, gpu_matrix_side=32, gather_patches=8,
    megabytes=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene"), size=160, points=300)


def bench(parts, threads=1, device="cpu", disk=None, settings=TINY):
    devices = (torch.device(device),)
    return run_benchmark(Config(), devices, settings, threads=threads, disk=disk, parts=parts, progress=silent)


FAST = {"matrix", "gather", "disk", "match", "align", "depth", "planes", "adjust"}


def test_every_part_has_rows_and_the_result_is_json(tmp_path):
    found = bench(FAST, disk=tmp_path)
    result = json.loads(json.dumps(benchmark_json(found, TINY, 1)))
    assert set(result) == {"machine", "settings", "rows"}
    assert {"cpu", "cores", "gpu", "versions"} <= set(result["machine"])
    assert {"dd-sfm", "torch", "numba", "pycolmap"} <= set(result["machine"]["versions"])
    rows = result["rows"]
    assert {row["part"] for row in rows} == FAST
    assert all(row["value"] > 0 and len(row["rounds"]) == 1 and row["unit"] for row in rows)
    assert {row["name"] for row in rows if row["limit"]} == {
        "match, search", "match, alignment of patches", "depth search, votes", "densify, alignment in views",
    }  # fmt: skip
    assert all(row["share_of_limit"] > 0 for row in rows if row["limit"])
    assert len(table(found)) == len(rows) + 1
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_asked_for_and_its_limits():
    rows = bench({"align"}, threads=2)
    assert {m.task.part for m in rows} == {"gather", "align"}
    assert {m.task.threads for m in rows} == {1, 2}


def test_views_see_the_plane_where_the_model_has_it(scene):
    assert len(choose_views(scene.views, scene.reference)) == len(scene.images) - 1
    found = depth_map(scene.views, scene.reference, 8, 0.6)
    known = found.planes[:, 0] > 0
    true = scene.planes(found.pixels)
    assert known.mean() > 0.5
    assert np.abs(found.planes[known, 0] / true[known, 0] - 1) == pytest.approx(0, abs=0.02)


def test_samples_are_those_of_all_views_and_the_reference(scene):
    by_name = {task.name: task for task in dense_tasks(scene, (1,), step=16)}
    pixels = len(range(32, 128, 16)) ** 2
    assert by_name["depth search, votes"].amount * 1e6 == pytest.approx(pixels * (1 + 14) * 121)
    assert by_name["densify, alignment in views"].amount * 1e6 == pytest.approx(pixels * (1 + 14) * 121)


def test_the_same_seed_makes_the_same_scene(scene, tmp_path):
    again = make_scene(tmp_path, size=160, points=300)
    assert all((a == b).all() for a, b in zip(scene.images, again.images, strict=True))
    assert (disturbed_model(scene).xy == disturbed_model(again).xy).all()


@pytest.mark.slow
def test_describing_and_rendering():
    found = {m.task.name: m for m in bench({"matrix", "describe", "render"}, settings=replace(TINY, matrix_side=1024))}
    described = found["describe"]
    assert described.limit.part == "matrix"
    assert described.share == pytest.approx(described.value * described.task.cost / found[described.limit.name].value)
    assert 0.1 < described.task.cost < 10
    assert found["rendering a clip"].value > 0


def test_matrix_products_count_operations_as_the_counter_for_frames_does():
    product = next(task for task in matrix_tasks(torch.device("cpu"), (1,), 64) if task.name.endswith("float32"))
    with FlopCounterMode(display=False) as counter:
        product.work()
    assert product.amount == pytest.approx(counter.get_total_flops() / 1e9)


def test_first_calls_are_those_of_a_process_with_an_empty_cache(monkeypatch):
    """What that process does is tried where loops are compiled anyway: ``tests/ops/test_own_parts.py``."""

    def ended(code, said="", seconds=None):
        def run(command, env, **options):
            assert command[1:3] == ["-m", "dd_sfm.benchmark.first_calls"]
            assert list(Path(env["NUMBA_CACHE_DIR"]).iterdir()) == []
            (Path(command[3]) / "seconds.json").write_text(json.dumps(seconds))
            return SimpleNamespace(returncode=code, stderr=said)

        return run

    monkeypatch.setattr(subprocess, "run", ended(0, seconds={"match": 2.0}))
    assert first_call_seconds() == {"match": 2.0}
    monkeypatch.setattr(subprocess, "run", ended(1, "one\nMemoryError\n"))
    with pytest.raises(ReconstructionError, match=r"the process that compiles failed \(MemoryError\)"):
        first_call_seconds()


@pytest.mark.gpu
def test_on_a_gpu():
    parts = {m.task.part for m in bench(set(PARTS), device="cuda")}
    assert {"matrix", "gather", "describe", "match"} <= parts
