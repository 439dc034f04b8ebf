"""What was compiled before is used again only while everything that it was made of is unchanged."""

import subprocess
import sys
from pathlib import Path

import pytest

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
import numpy as np
from kernels.loop import loop
print(loop(np.arange(3.0)), sum(loop.stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path):
    """Runs the loop of a small package in a process of its own: its result, and whether it came from the cache."""
    package = tmp_path / "kernels"
    package.mkdir()
    for name, text in (("__init__", ""), ("loop", LOOP), ("parts", PARTS), ("deeper", "SHIFT = 1.0\n")):
        (package / f"{name}.py").write_text(text)

    def start():
        done = subprocess.run(
            [sys.executable, "-B", "-c", SCRIPT], cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        result, hits = done.stdout.split()
        return float(result), int(hits)

    return package, start


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
