"""A loop gives the same bits whether it was compiled in this process or before, and whatever else is loaded."""

import json
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
from dd_sfm.benchmark import first_calls

place, loops = Path(sys.argv[1]), first_calls.loop_calls

def told(name, work):
    def call():
        result = work()
        print(name, hashlib.sha256(pickle.dumps(result)).hexdigest(), sep=":")
        return result
    return call

def in_turn(folder):
    return {name: told(name, work) for name, work in list(loops(folder).items())[:: int(sys.argv[2])]}

first_calls.loop_calls = in_turn
if sys.argv[3] == "first":
    first_calls.main(place)
else:
    for work in in_turn(place).values():
        work()
"""
"""Digests of what the loops find; in the first process as the benchmark calls them, which takes their seconds."""


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
    def digests(name, step, which="later"):
        (tmp_path / name).mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", DIGESTS, tmp_path / name, str(step), which],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = {tuple(line.split(":")) for line in ran.stdout.splitlines()}
        # A loop that was called twice has found the same both times.
        assert len(lines) == len(dict(lines))
        return dict(lines)

    (tmp_path / "cache").mkdir()
    compiled = digests("compiled", 1, "first")
    seconds = json.loads((tmp_path / "compiled" / "seconds.json").read_text())
    assert set(seconds) == set(compiled)
    assert seconds["dense search"] > 1
    assert set(compiled) == {"match", "triangulate", "dense search"}
    assert digests("cached", 1) == compiled
    assert digests("backwards", -1) == compiled
