"""The machine: which device, how many threads."""

import ctypes
import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

import psutil
import torch

from dd_sfm.config import RuntimeConfig
from dd_sfm.errors import DeviceError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

GAPS_BYTES = 150_000_000
"""The heap is trimmed when the process has grown by so much."""


def resolve_device(runtime: RuntimeConfig) -> torch.device:
    """The device to work on.

    Raises:
        DeviceError: If CUDA is asked for and there is no CUDA device, or the one there cannot be used, or the run is
            to be deterministic, which GPUs are not.
    """
    if runtime.deterministic and runtime.device == "cuda":
        raise DeviceError("--deterministic: does not hold for --device cuda; expected --device auto or cpu")
    if runtime.device == "cpu" or runtime.deterministic:
        return torch.device("cpu")
    if torch.cuda.is_available():
        _try_gpu(runtime.device)
        return torch.device("cuda")
    if runtime.device == "cuda":
        raise DeviceError("--device cuda: no CUDA device found by torch; expected one. Use --device auto or cpu")
    return torch.device("cpu")


def _try_gpu(asked: str) -> None:
    """See that the GPU computes: it may be too old for this build of torch, or have no memory left."""
    try:
        torch.ones(16, device="cuda").sum().item()
    except RuntimeError as error:
        name = torch.cuda.get_device_name()
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"--device {asked}: the GPU {name} cannot be used ({reason}); expected one that this build of torch "
            "supports, with free memory. Use --device cpu"
        ) from error


def cpu_threads(runtime: RuntimeConfig) -> int:
    """Threads to use: the configured number, or as many as this process may run on."""
    return runtime.threads or len(os.sched_getaffinity(0))


def solver_threads(runtime: RuntimeConfig) -> int:
    """Threads for COLMAP's own work, which depends on the order in which several threads end."""
    return 1 if runtime.deterministic else cpu_threads(runtime)


def cpu_has_bfloat16() -> bool:
    """True when this CPU multiplies bfloat16 in hardware; elsewhere bfloat16 is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is faster in bfloat16."""
    return device.type == "cuda" or cpu_has_bfloat16()


def release_memory() -> None:
    """Give memory that nothing uses any more back to the system: caches that hold themselves, and gaps in the heap."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Give the gaps in the heap back to the system: arrays of a few megabytes leave them in the heap of each thread."""
    # glibc alone knows this.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class HeapTrimmer:
    """Trims the heap whenever the process has grown by :data:`GAPS_BYTES`, which mostly are gaps."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._least = self._resident()

    def look(self) -> None:
        """Trim, if it is time to; to be called often, at little cost, while no other thread is at work."""
        resident = self._resident()
        if resident > self._least + GAPS_BYTES:
            trim_heap()
            resident = self._least = self._resident()
        self._least = min(self._least, resident)

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


@contextmanager
def workers(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """A pool for independent tensor work: on a CPU one worker a core with one thread each, on a GPU one worker.

    Small operations gain nothing from more threads in one of them, and threads that wait for each other spin: on a
    machine that also does other work they are many times slower than one thread alone.
    """
    threads = torch.get_num_threads()
    count = 1 if device.type == "cuda" else threads
    try:
        torch.set_num_threads(max(1, threads // count))
        with ThreadPoolExecutor(count) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@contextmanager
def worker_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads; when the block is left by an error, what has not begun is dropped."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], ahead: int
) -> Iterator[ResultT]:
    """Results of a function in the order of its items, worked out by a pool while the caller uses earlier ones.

    Args:
        pool: Does the work.
        function: Called in its threads.
        items: Taken in the caller's thread, one by one as there is room.
        ahead: Most results that are in work, or wait, beside the one yielded: memory does not grow with the items.
    """
    pending: deque[Future[ResultT]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class LruCache(Generic[ItemT, ResultT]):
    """The results of a function for the keys asked for last, shared by threads: each is worked out once.

    Args:
        function: Called outside of any lock, in the thread that first asks for a key.
        capacity: Results held at once; one in use is not counted when newer ones have pushed it out.
    """

    def __init__(self, function: Callable[[ItemT], ResultT], capacity: int) -> None:
        self.function, self.capacity = function, capacity
        self._held: dict[ItemT, Future[ResultT]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, key: ItemT) -> ResultT:
        with self._lock:
            held = self._held.pop(key, None)
            future: Future[ResultT] = Future() if held is None else held
            # The last one asked for is the last one to go.
            self._held[key] = future
            if len(self._held) > self.capacity:
                self._held.pop(next(iter(self._held)))
        if held is None:
            try:
                future.set_result(self.function(key))
            except BaseException as error:
                with self._lock:
                    if self._held.get(key) is future:
                        del self._held[key]
                future.set_exception(error)
        return future.result()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's and SciPy's products of matrices with one thread each; the environment stays as it was."""
    before = {name: os.environ.get(name) for name in ("KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK")}
    from threadpoolctl import threadpool_limits

    for name, value in before.items():
        if value is None:
            # threadpoolctl sets them when it is loaded.
            os.environ.pop(name, None)
    with threadpool_limits(1, "blas"):
        yield
