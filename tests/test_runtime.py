import threading

import pytest

from dd_sfm.config import RuntimeConfig
from dd_sfm.errors import DeviceError
from dd_sfm.runtime import (
    GAPS_BYTES,
    HeapTrimmer,
    LruCache,
    cpu_threads,
    map_ahead,
    resolve_device,
    solver_threads,
    worker_threads,
)


def test_a_deterministic_run_solves_on_one_thread_of_the_cpu():
    runtime = RuntimeConfig(threads=4, deterministic=True)
    assert (cpu_threads(runtime), solver_threads(runtime)) == (4, 1)
    assert solver_threads(RuntimeConfig(threads=4)) == 4
    assert resolve_device(runtime).type == "cpu"
    with pytest.raises(DeviceError, match="^--deterministic: does not hold for --device cuda; expected .* auto or cpu"):
        resolve_device(RuntimeConfig(device="cuda", deterministic=True))


def test_results_come_in_order_and_few_are_begun_ahead():
    taken, begun = [], []

    def items():
        for k in range(20):
            taken.append(k)
            yield k

    def double(k):
        begun.append(k)
        return 2 * k

    with worker_threads(3) as pool:
        for position, result in enumerate(map_ahead(pool, double, items(), 4)):
            assert result == 2 * position
            assert len(taken) <= position + 5
    assert sorted(begun) == list(range(20))


def test_after_an_error_what_has_not_begun_is_dropped():
    started, release = [], threading.Event()

    def work(k):
        started.append(k)
        if k == 0:
            raise ValueError("zero")
        release.wait(5)

    def work_ahead():
        with worker_threads(2) as pool:
            list(map_ahead(pool, work, range(50), 20))

    # The workers are held until the error has come through.
    timer = threading.Timer(0.1, release.set)
    timer.start()
    with pytest.raises(ValueError, match="zero"):
        work_ahead()
    timer.join()
    assert len(started) < 20


def test_the_last_results_are_held_and_each_is_worked_out_once():
    calls = []

    def square(k):
        calls.append(k)
        if k < 0:
            raise ValueError("negative")
        return k * k

    recent = LruCache(square, 3)
    assert [recent[k] for k in (1, 2, 3, 1, 4, 1, 2)] == [1, 4, 9, 1, 16, 1, 4]
    assert calls == [1, 2, 3, 4, 2]
    assert len(recent) == 3
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            recent[-1]
    # An error is not held.
    assert calls[-2:] == [-1, -1]
    with worker_threads(4) as pool:
        assert list(pool.map(lambda _: recent[7], range(20))) == [49] * 20
    assert calls.count(7) == 1


def test_the_heap_is_trimmed_when_the_process_has_grown(monkeypatch):
    trimmed, resident = [], 2 * GAPS_BYTES
    monkeypatch.setattr("dd_sfm.runtime.trim_heap", lambda: trimmed.append(resident))
    monkeypatch.setattr(HeapTrimmer, "_resident", lambda self: resident)
    heap = HeapTrimmer()
    # From the least on that the process has taken since it was trimmed.
    for share in (2.5, 1.4, 2.3, 2.5, 3.4, 3.6):
        resident = int(share * GAPS_BYTES)
        heap.look()
    assert trimmed == [int(2.5 * GAPS_BYTES), int(3.6 * GAPS_BYTES)]
