"""Workers by Dask: on this machine, or those of a cluster.

A worker only starts a process for each video and waits for it. Which worker gets a video is decided here, by what a
video needs and a worker has, so that no video waits behind another one and a worker that dies takes no more with it
than it was working on.
"""

import logging
import queue
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from dd_sfm import __version__
from dd_sfm.batch.engine import Work
from dd_sfm.batch.process import stop_batch
from dd_sfm.batch.resources import Machine, Need, places
from dd_sfm.batch.task import Ending, Outcome, VideoTask
from dd_sfm.batch.work import do_video
from dd_sfm.errors import InputError, OutputError, UsageError

CONNECT_S, FETCH_S = 15, 15
LOOK_S = 1.0
"""So often the list of workers is asked for."""
INSTALL = "pip install 'dd-sfm[batch]'"
SETTINGS = {
    # A worker that dies is not asked of the next one by Dask: it is done here, once, and entered.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # Waiting in a thread says nothing about being alive, and nothing is measured by Dask's own processes.
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.admin.tick.limit": "1h",
}


def check_dask() -> None:
    """See that Dask is there.

    Raises:
        UsageError: If it is not.
    """
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in ("distributed", "cryptography")):
        raise UsageError(
            f"dd-sfm batch: several workers need Dask, which is not installed; {INSTALL}, or do one video after the "
            "other with --workers 1"
        )


@dataclass
class _Worker:
    """A worker of Dask: how many videos it takes at once, and the GPUs that are for them; None: as it was started."""

    places: int
    gpus: str | None = None


class DaskEngine:
    """Workers of Dask; see :func:`local_engine` and :func:`cluster_engine`.

    Args:
        client: Connected to a scheduler.
        need: What a video takes.
        most: Videos at once; None: as many as there are places.
        own: What is closed with the engine: a cluster of this machine, and its temporary folder.
        gpu_names: GPUs of this machine for its workers, one after the other.
        work: What workers do with a task.
    """

    def __init__(
        self,
        client: Any,
        need: Need,
        *,
        most: int | None = None,
        own: tuple[Any, ...] = (),
        gpu_names: tuple[str, ...] = (),
        work: Work = do_video,
    ) -> None:
        self._client, self._need, self._most, self._own, self._work = client, need, most, own, work
        self._gpu_names = gpu_names
        self._ended: queue.Queue[Any] = queue.Queue()
        self._running: dict[Any, tuple[VideoTask, str]] = {}
        self._workers: dict[str, _Worker] = {}
        self._looked_s = -LOOK_S

    def free_places(self) -> int:
        """See :class:`dd_sfm.batch.engine.Engine`."""
        self._look()
        free = sum(self._free().values())
        return free if self._most is None else min(free, self._most - len(self._running))

    def _free(self) -> Counter[str]:
        taken = Counter(worker for _, worker in self._running.values())
        return Counter({name: max(0, w.places - taken[name]) for name, w in self._workers.items()})

    def _look(self) -> None:
        """Ask which workers there are, once in a while; videos of those that went away are handed back.

        Raises:
            OutputError: If the scheduler does not answer any more.
        """
        now = time.monotonic()
        if now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        try:
            found = self._client.nthreads()
            if any(name not in self._workers for name in found):
                # Asked of the scheduler itself, as what the client keeps of it is without workers for moments; and
                # only of new workers, as it takes a second for some hundred.
                details = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
                for name in [name for name in details if name not in self._workers]:
                    self._workers[name] = self._worker(details[name])
        except (OSError, AttributeError) as error:
            raise OutputError(
                f"dd-sfm batch: the scheduler of the workers is gone ({error}); what is done is kept. Repeat the "
                "command to go on"
            ) from error
        self._workers = {name: worker for name, worker in self._workers.items() if name in found}
        for future, (_, worker) in list(self._running.items()):
            if worker not in found:
                # Tied to a worker that is not there, it would wait for it for ever.
                self._ended.put(future)

    def _worker(self, info: dict[str, Any]) -> _Worker:
        gpus = float((info.get("resources") or {}).get("GPU", 0))
        if self._gpu_names:
            taken = Counter(worker.gpus for worker in self._workers.values())
            return _Worker(1, min(self._gpu_names, key=lambda name: taken[name]))
        return _Worker(places(info["nthreads"], info.get("memory_limit") or 0, gpus, self._need))

    def submit(self, task: VideoTask) -> None:
        """See :class:`dd_sfm.batch.engine.Engine`."""
        worker = self._free().most_common(1)[0][0]
        names = self._workers[worker].gpus
        task = replace(task, visible_gpus=names) if names is not None else task
        future = self._client.submit(
            self._work, task, workers=[worker], allow_other_workers=False, pure=False, retries=0
        )
        self._running[future] = task, worker
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[tuple[VideoTask, Outcome]]:
        """See :class:`dd_sfm.batch.engine.Engine`."""
        self._look()
        found: list[tuple[VideoTask, Outcome]] = []
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                future = self._ended.get(timeout=0 if found else max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                return found
            if future in self._running:
                task, _ = self._running.pop(future)
                found.append((task, self._outcome(future)))
                future.release()

    def _outcome(self, future: Any) -> Outcome:
        """What came of a video: its worker's word, or why there is none."""
        error = None
        if future.status == "finished":
            # What came of it is still on its worker, which may be gone by now.
            with suppress(Exception):
                return future.result(timeout=FETCH_S)
        elif future.status == "error":
            error = future.exception()
        if error is None or type(error).__name__ == "KilledWorker":
            self._looked_s = -LOOK_S
            future.cancel()
            return Outcome(Ending.KILLED, "its worker was killed, or lost")
        return Outcome(Ending.FAILED, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}")

    def stop(self) -> None:
        """See :class:`dd_sfm.batch.engine.Engine`."""
        calls = {task.call for task, _ in self._running.values()}
        for call in calls:
            self._client.run(stop_batch, call, on_error="ignore")

    def close(self) -> None:
        """See :class:`dd_sfm.batch.engine.Engine`."""
        if self._running:
            self.stop()
        self._client.close()
        for one in self._own:
            one.close() if hasattr(one, "close") else one.cleanup()


def local_engine(workers: int, need: Need, machine: Machine, *, work: Work = do_video) -> DaskEngine:
    """Workers on this machine, each of which does one video at a time.

    Raises:
        UsageError: If Dask is not installed.
        OutputError: If they cannot be started.
    """
    check_dask()
    import dask
    from distributed import Client, LocalCluster

    folder = tempfile.TemporaryDirectory(prefix="dd-sfm-dask-")
    names: tuple[str, ...] = ()
    if need.gpus:
        shared = max(1, int(1 / need.gpus + 1e-9))
        each = max(1, round(need.gpus))
        numbers = [str(number) for number in range(machine.gpus)]
        whole = [",".join(numbers[k : k + each]) for k in range(0, len(numbers), each)]
        names = tuple(name for name in whole for _ in range(shared))
    try:
        dask.config.set(SETTINGS)
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            # With keys made for this call, as other users of the machine reach its ports, too.
            protocol="tls",
            security=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            local_directory=folder.name,
            silence_logs=logging.CRITICAL,
        )
        client = Client(cluster, set_as_default=False)
    except (OSError, RuntimeError, TimeoutError) as error:
        folder.cleanup()
        raise OutputError(
            f"dd-sfm batch: workers cannot be started on this machine ({error}); try --workers 1, which needs none"
        ) from error
    return DaskEngine(client, need, most=workers, own=(cluster, folder), gpu_names=names, work=work)


def cluster_engine(address: str, need: Need, *, workers: int | None = None) -> DaskEngine:
    """The workers of a cluster whose scheduler listens at an address.

    Raises:
        UsageError: If Dask is not installed.
        InputError: If no scheduler answers there, or its workers have no dd-sfm, or another version.
    """
    check_dask()
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--address {address}: no scheduler of Dask answers ({' '.join(str(error).split())}); expected one as "
            "tcp://host:8786. Start it with: dask scheduler"
        ) from error
    try:
        found = client.run(installed_version, on_error="return")
    except Exception as error:
        client.close()
        raise InputError(f"--address {address}: its workers do not answer ({error})") from error
    for worker, version in found.items():
        if version != __version__:
            client.close()
            what = f"dd-sfm {version}" if isinstance(version, str) else f"no dd-sfm that can be used ({version})"
            raise InputError(f"--address {address}: worker {worker} has {what}; expected {__version__} on all of them")
    return DaskEngine(client, need, most=workers)


def installed_version() -> str:
    """The version of dd-sfm on a worker."""
    return __version__
