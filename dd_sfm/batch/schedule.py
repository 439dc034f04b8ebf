"""The videos of a batch from the first to the last: handed out, tried again, entered, told of."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from dd_sfm.batch.engine import Engine
from dd_sfm.batch.page import figures_in_words
from dd_sfm.batch.record import BatchRecord
from dd_sfm.batch.task import Ending, Outcome, VideoTask
from dd_sfm.progress import Progress, silent

TRIES = 2
"""A video whose process or worker is killed is tried once more."""
WAIT_S = 1.0
NO_WORKERS_S = 20.0
"""After so long without any worker the user is told."""
STOP_S = 40.0
"""So long is waited for processes that were asked to end."""


def do_all(
    tasks: Sequence[VideoTask],
    engine: Engine,
    record: BatchRecord,
    inputs: Mapping[str, str],
    say: Callable[[str], None],
    progress: Progress = silent,
) -> None:
    """Do videos; one that fails does not stop the others. The record is written as they end.

    Args:
        tasks: What is to be done.
        engine: Does it.
        record: What became of each is entered there.
        inputs: By name what each was made from; see :class:`BatchRecord`.
        say: Given a line for each video.
        progress: Shows how many videos have ended.

    Raises:
        KeyboardInterrupt: If the user stops it; videos that run are asked to end before.
        OutputError: If the record cannot be written.
    """
    running: dict[str, VideoTask] = {}
    record.save()
    try:
        for _ in progress(_ending(tasks, running, engine, record, inputs, say), total=len(tasks), label="videos"):
            pass
    except KeyboardInterrupt:
        _stop(engine, running, record, inputs)
        raise
    finally:
        record.save()


def _ending(
    tasks: Sequence[VideoTask],
    running: dict[str, VideoTask],
    engine: Engine,
    record: BatchRecord,
    inputs: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[VideoTask]:
    """Do videos; yields each as it has ended. Those that are being done are in ``running``."""
    waiting, tries = deque(tasks), Counter[str]()
    pace, lonely_s = _Pace(len(tasks)), time.monotonic()
    while waiting or running:
        for _ in range(min(engine.free_places(), len(waiting))):
            task = waiting.popleft()
            tries[task.name] += 1
            running[task.name] = task
            engine.submit(task)
        ended = engine.wait(WAIT_S)
        for task, outcome in ended:
            del running[task.name]
            if outcome.ending is Ending.KILLED and tries[task.name] < TRIES:
                say(f"{task.name}: {outcome.error}; tried once more")
                # What it has finished is kept: the second try goes on from it.
                waiting.appendleft(replace(task, overwrite=False))
                continue
            outcome = _after_tries(outcome, tries[task.name])
            record.enter(task, outcome, inputs[task.name], tries[task.name])
            pace.count()
            say(f"{pace.text(record)}: {_line(task, record)}")
            yield task
        record.save_soon()
        if running:
            lonely_s = time.monotonic()
        elif time.monotonic() - lonely_s > NO_WORKERS_S:
            say("no worker that has room for a video; waiting for one")
            lonely_s = float("inf")


def _after_tries(outcome: Outcome, tries: int) -> Outcome:
    if outcome.ending is Ending.DONE or tries < TRIES:
        return outcome
    return replace(outcome, error=f"{outcome.error} (tried {tries} times)")


def _line(task: VideoTask, record: BatchRecord) -> str:
    video = record.videos[task.name] or {}
    words = video["error"] or figures_in_words(video)
    return f"{task.name} {video['status']}{f', {words}' if words else ''}, {video['seconds']:.0f} s"


def _stop(engine: Engine, running: Mapping[str, VideoTask], record: BatchRecord, inputs: Mapping[str, str]) -> None:
    """Ask what runs to end, and wait for it; what has been done meanwhile is entered."""
    engine.stop()
    left, until_s = set(running), time.monotonic() + STOP_S
    while left and time.monotonic() < until_s:
        for task, outcome in engine.wait(WAIT_S):
            left.discard(task.name)
            if outcome.ending is Ending.DONE:
                record.enter(task, outcome, inputs[task.name], 1)


class _Pace:
    """How long the rest will take, by the videos that have ended."""

    def __init__(self, total: int) -> None:
        self._total, self._ended, self._started_s = total, 0, time.monotonic()

    def count(self) -> None:
        """Count a video as ended."""
        self._ended += 1

    def text(self, record: BatchRecord) -> str:
        """How many of all are done, and the time left."""
        left, failed = self._total - self._ended, record.count("failed")
        seconds = (time.monotonic() - self._started_s) / self._ended * left
        return (
            f"{record.count('done', 'failed', 'skipped')} of {len(record.videos)}"
            f"{f', {failed} failed' if failed else ''}{f', about {duration(seconds)} left' if left else ''}"
        )


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
