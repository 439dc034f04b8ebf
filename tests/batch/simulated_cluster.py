"""A batch on simulated workers, whose videos only sleep: what scheduler, record and stragglers cost (docs/scale.md).

python tests/batch/simulated_cluster.py --videos 1000 --workers 100 --faster 1000
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from dd_sfm.batch.dask_engine import SETTINGS, DaskEngine
from dd_sfm.batch.record import BatchRecord
from dd_sfm.batch.resources import Need
from dd_sfm.batch.schedule import do_all
from dd_sfm.batch.storage import Store
from dd_sfm.batch.task import Command, Ending, Outcome, VideoTask

MEAN_S, SPREAD = 825.0, 0.5
"""Seconds of a video on two cores, and the standard deviation of their logarithm (docs/scale.md)."""
METRICS = {f"figure_{k}": 0.123456789 for k in range(60)}
"""As many as metrics.json has."""


def sleep(task: VideoTask) -> Outcome:
    """Sleep as long as the video would take, which stands in its arguments."""
    seconds = float(task.arguments[0])
    time.sleep(seconds)
    return Outcome(Ending.DONE, "", METRICS, ("a note " * 20,), b"x" * 15_000, seconds)


def seconds_of_videos(count: int, seed: int = 0) -> list[float]:
    """Times of videos of a log-normal distribution, in the order in which a manifest would have them."""
    draw = random.Random(seed)
    return [MEAN_S * draw.lognormvariate(-(SPREAD**2) / 2, SPREAD) for _ in range(count)]


def simulate(videos: int, workers: int, faster: float, out: Path) -> dict[str, float]:
    """Do a batch of videos that sleep.

    Args:
        videos: Number of videos.
        workers: Number of workers, each of which does one at a time.
        faster: Videos sleep so many times shorter than they would take.
        out: Folder for the record.

    Returns:
        Seconds of the batch, of the least that these workers could need, and of processor and memory of this process.
    """
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(SETTINGS)
    seconds = [value / faster for value in seconds_of_videos(videos)]
    tasks = [
        VideoTask(f"video{k:04d}", Command.RECONSTRUCT, (), (str(value),), str(out / str(k)))
        for k, value in enumerate(seconds)
    ]
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
    ) as cluster:
        engine = DaskEngine(Client(cluster, set_as_default=False), Need(1, 1.0), work=sleep)
        record = BatchRecord(Store(str(out)), "simulated", {task.name: None for task in tasks})
        while engine.free_places() < workers:
            time.sleep(0.1)
        started, cpu = time.monotonic(), time.process_time()
        do_all(tasks, engine, record, dict.fromkeys(record.videos, ""), lambda line: None)
        found = {"seconds": time.monotonic() - started, "cpu_s": time.process_time() - cpu}
        engine.close()
    assert json.loads((out / "batch.json").read_text())["done"] == videos
    longest = max(seconds)
    return found | {
        "work_s": sum(seconds),
        "least_s": max(sum(seconds) / workers, longest),
        "in_order_s": in_order(seconds, workers),
        "efficiency": sum(seconds) / workers / found["seconds"],
    }


def in_order(seconds: list[float], workers: int) -> float:
    """How long it takes when each worker takes the next video at once."""
    ends = [0.0] * workers
    for value in seconds:
        first = min(range(workers), key=ends.__getitem__)
        ends[first] += value
    return max(ends)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--faster", type=float, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(arguments.videos, arguments.workers, arguments.faster, Path(folder))
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))


if __name__ == "__main__":
    main()
