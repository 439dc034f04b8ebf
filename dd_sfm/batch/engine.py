"""What runs videos on workers, and the engine that needs none: one video after the other on this machine."""

import queue
import threading
from collections.abc import Callable
from typing import Protocol

from dd_sfm.batch.process import stop_batch
from dd_sfm.batch.task import Ending, Outcome, VideoTask
from dd_sfm.batch.work import do_video

Work = Callable[[VideoTask], Outcome]


class Engine(Protocol):
    """Takes videos as long as it has room, and hands back how they ended."""

    def free_places(self) -> int:
        """How many more videos can be handed over."""

    def submit(self, task: VideoTask) -> None:
        """Begin with a video."""

    def wait(self, timeout_s: float) -> list[tuple[VideoTask, Outcome]]:
        """The videos that ended since the last call; waits for one, but not longer than ``timeout_s``."""

    def stop(self) -> None:
        """Ask the processes of all running videos to end; they then come out of :meth:`wait`."""

    def close(self) -> None:
        """Give back what the engine holds; what still runs is ended."""


class SerialEngine:
    """One video after the other, each in a process of its own, without workers."""

    def __init__(self, work: Work = do_video) -> None:
        self._work = work
        self._ended: queue.Queue[tuple[VideoTask, Outcome]] = queue.Queue()
        self._running: VideoTask | None = None
        self._thread: threading.Thread | None = None

    def free_places(self) -> int:
        """One as long as nothing runs."""
        return int(self._running is None)

    def submit(self, task: VideoTask) -> None:
        """Begin with a video; the thread only waits for its process, so that Ctrl-C reaches the caller."""
        self._running = task
        self._thread = threading.Thread(target=self._do, args=(task,), daemon=True)
        self._thread.start()

    def _do(self, task: VideoTask) -> None:
        try:
            outcome = self._work(task)
        except Exception as error:
            outcome = Outcome(Ending.FAILED, f"unexpected {type(error).__name__}: {error}")
        self._ended.put((task, outcome))

    def wait(self, timeout_s: float) -> list[tuple[VideoTask, Outcome]]:
        """See :class:`Engine`."""
        try:
            ended = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return []
        self._running = None
        return [ended]

    def stop(self) -> None:
        """See :class:`Engine`."""
        if self._running is not None:
            stop_batch(self._running.call)

    def close(self) -> None:
        """See :class:`Engine`."""
        if self._running is not None and self._thread is not None:
            stop_batch(self._running.call)
            self._thread.join(30)
