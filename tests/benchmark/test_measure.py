"""Rates of tasks in turns, and their shares of limits."""

import numpy as np
import pytest

from dd_sfm.benchmark.limits import _sum_packed, _sum_samples
from dd_sfm.benchmark.measure import Measured, Task, measure
from dd_sfm.benchmark.report import cpu_model, ns_per_sample, table
from dd_sfm.ops.packed_image import STEPS, pack_image
from dd_sfm.progress import silent


@pytest.fixture
def clock(monkeypatch):
    """A clock that only :func:`task`'s work moves."""
    now = [0.0]
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(f"dd_sfm.benchmark.measure.time.{name}", lambda: now[0])
    return now


def task(clock, seconds, name="work", log=None, **more):
    def work():
        clock[0] += seconds
        if log is not None:
            log.append(name)

    return Task("part", name, "things/s", 10, work, **more)


def test_rates_are_medians_of_turns_and_turns_alternate(clock):
    log = []
    tasks = [task(clock, 0.5, "a", log), task(clock, 2.0, "b", log)]
    a, b = measure(tasks, rounds=3, seconds=1.0, progress=silent)
    assert (a.value, b.value, len(a.rounds)) == (20, 5, 3)
    # Each is called once to warm up; then a turn lasts a second or a call.
    assert log == ["a", "b"] + ["a", "a", "b"] * 3
    assert a.share is None


def test_shares_are_of_the_fastest_limit_with_the_same_threads(clock):
    limits = [
        task(clock, 1.0, "slow limit", bound="gather"),
        task(clock, 0.5, "fast limit", bound="gather"),
        task(clock, 0.1, "two threads", bound="gather", threads=2),
    ]
    found = measure([*limits, task(clock, 4.0, bound_by="gather", cost=3)], rounds=1, seconds=0, progress=silent)
    assert found[-1].share == pytest.approx(10 / 4 * 3 / 20)
    assert found[-1].limit.name == "fast limit"
    assert {limit.name: share for limit, share in found[-1].shares} == pytest.approx(
        {"fast limit": 0.375, "slow limit": 0.75}
    )
    lines = table(found)
    assert len({len(line.rstrip()) for line in lines[1:4]}) == 1
    assert "38 %  fast limit" in lines[-1]


def test_one_thread_is_measured_in_seconds_of_the_processor(monkeypatch):
    wall = iter(range(100))
    monkeypatch.setattr("dd_sfm.benchmark.measure.time.perf_counter", lambda: next(wall))
    monkeypatch.setattr("dd_sfm.benchmark.measure.time.process_time", lambda: next(wall) / 1000)
    tasks = [Task("part", name, "things/s", 1, lambda: None, waits=name == "waits") for name in ("works", "waits")]
    works, waits = measure(tasks, rounds=1, seconds=0.5, progress=silent)
    assert works.value > 100
    assert waits.value < 1


def test_nanoseconds_are_those_of_a_core():
    work = Task("gather", "gather", "Msamples/s", 1, lambda: None, threads=2)
    assert ns_per_sample(Measured(work, 250.0, (250.0,))) == pytest.approx(8)


def test_gather_interpolates():
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    x, y = np.array([0.25, 1.5], np.float32), np.array([0.5, 2.75], np.float32)
    corner = np.array([[3, 4], [20, 10]], np.float32)
    expected = [sum(3 * (cx + a) + 2 * (cy + b) for a, b in zip(x, y, strict=True)) for cx, cy in corner]
    image, sums = 3 * columns + 2 * rows, np.zeros(2, np.float32)
    _sum_samples(0, 2, image, x, y, corner, sums)
    assert sums == pytest.approx(expected, rel=1e-5)
    _sum_packed(1, 2, pack_image(image), x, y, corner, sums)
    assert sums == pytest.approx([expected[0], STEPS * expected[1]], rel=1e-5)


def test_the_processor_has_a_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Processor @ 2 GHz\nmodel name\t: B\n")
    assert cpu_model(tmp_path / "cpuinfo") == "A Processor @ 2 GHz"
    assert cpu_model(tmp_path / "none")
