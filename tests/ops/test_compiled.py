"""What was compiled before is used again only while everything that it was made of is unchanged."""

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from dd_sfm.ops.compiled import compiled_for_workers, over_cores, using_threads

ROOT = Path(__file__).parents[2]
LOOP = """
import numpy as np
from dd_sfm.ops.compiled import compiled_for_workers
from kernels.parts import FACTOR, shifted

@compiled_for_workers
def loop(values):
    total = 0.0
    for value in values:
        total += FACTOR * shifted(value)
    return total
"""
PARTS = """
from dd_sfm.ops.compiled import compiled_part
from kernels.deeper import SHIFT

FACTOR = 2.0

@compiled_part
def shifted(value):
    return value + SHIFT
"""
SCRIPT = """
import os
import sys
import numpy as np
import dd_sfm.ops.compiled

for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            from kernels.loop import loop
            print(loop(np.arange(3.0)), sum(loop.stats.cache_hits.values()), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print("done", flush=True)
"""
"""For each line, runs the loop in a copy of the process: importing all that it needs takes seconds."""


@pytest.fixture
def run(tmp_path):
    """Runs the loop of a small package in a process of its own: its result, and whether it came from the cache."""
    package = tmp_path / "kernels"
    package.mkdir()
    for name, text in (("__init__", ""), ("loop", LOOP), ("parts", PARTS), ("deeper", "SHIFT = 1.0\n")):
        (package / f"{name}.py").write_text(text)

    with subprocess.Popen(
        [sys.executable, "-B", "-c", SCRIPT], cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def start():
            process.stdin.write("\n")
            process.stdin.flush()
            result, hits = process.stdout.readline().split()
            assert process.stdout.readline() == "done\n"
            return float(result), int(hits)

        yield package, start
        process.stdin.close()


def test_a_loop_is_compiled_anew_when_a_source_of_its_parts_changes(run):
    package, start = run
    assert start() == (12.0, 0)
    assert start() == (12.0, 1)
    parts = package / "parts.py"
    parts.write_text(parts.read_text().replace("value + SHIFT", "value - SHIFT"))
    assert start() == (0.0, 0)
    (package / "deeper.py").write_text("SHIFT = 2.0\n")
    assert start() == (-6.0, 0)
    parts.write_text(parts.read_text().replace("FACTOR = 2.0", "FACTOR = 5.0"))
    assert start() == (-15.0, 0)
    assert start() == (-15.0, 1)


def test_compiled_loops_need_no_writable_folder(monkeypatch):
    def refused(locator):
        raise OSError("read-only")

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refused)

    def twice(values):
        return 2 * values

    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(twice)
    assert compiled_for_workers(twice).py_func is twice


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_every_step_is_done_once(threads, count):
    def loop(first, last, done):
        done[first:last] += 1

    done = np.zeros(count, int)
    before = torch.get_num_threads()
    with using_threads(threads):
        over_cores(loop, count, done)
    assert (done == 1).all()
    assert torch.get_num_threads() == before
