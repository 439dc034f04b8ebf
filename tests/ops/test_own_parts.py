"""A loop gives the same bits whether it was compiled in this process or before, and whatever else is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite.binding import Linkage

from dd_sfm.ops.compiled import compiled_for_workers, compiled_part

ROOT = Path(__file__).parents[2]
DIGESTS = """
import hashlib, pickle, sys
from pathlib import Path
from dd_sfm.benchmark.first_calls import loop_calls

calls = list(loop_calls(Path(sys.argv[1])).items())
for name, work in calls[:: int(sys.argv[2])]:
    print(name, hashlib.sha256(pickle.dumps(work())).hexdigest(), sep=":")
"""


def test_copies_of_parts_are_local(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))

    # A function that calls itself twice cannot be written out in the loop.
    @compiled_part
    def callee(count):
        if count < 2:
            return count
        return callee(count - 1) + callee(count - 2)

    @compiled_for_workers
    def caller(count):
        return callee(count)

    assert caller(10) == 55
    (compiled,) = caller.overloads.values()
    linkage = {function.name: function.linkage for function in compiled.library.get_defined_functions()}
    assert {link for name, link in linkage.items() if "callee" in name} == {Linkage.internal}
    assert set(linkage.values()) == {Linkage.internal, Linkage.external}


@pytest.mark.slow
def test_matching_triangulation_and_depths_are_the_same_compiled_and_cached(tmp_path):
    def digests(name, step):
        (tmp_path / name).mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", DIGESTS, tmp_path / name, str(step)],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return dict(line.split(":") for line in ran.stdout.splitlines())

    (tmp_path / "cache").mkdir()
    compiled = digests("compiled", 1)
    assert set(compiled) == {"match", "triangulate", "dense search"}
    assert digests("cached", 1) == compiled
    assert digests("backwards", -1) == compiled
