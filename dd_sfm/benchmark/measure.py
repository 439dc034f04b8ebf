"""Rates measured in rounds: every task has a turn in every round, and the median of the rounds counts.

What else the machine does then slows neighbouring turns alike, and a share of a limit compares turns of one round.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from dd_sfm.ops.compiled import using_threads
from dd_sfm.progress import Progress


@dataclass(frozen=True)
class Task:
    """Something whose rate is measured.

    Args:
        part: What ``--only`` calls it.
        name: What is measured, in words.
        unit: Of the rate.
        amount: How many of them a call does.
        work: The call; on a GPU it returns when all is done.
        device: cpu or cuda.
        threads: CPU threads it may use.
        bound: The kind of limit that this task is a part of: a task's rate is set against the fastest of that kind.
        bound_by: The kind of limit it is set against; empty where no measured limit applies.
        cost: Units of the limit that one of its own units takes, such as GFLOP a frame.
        note: What the reader should know, in a few words.
        waits: Whether it waits for something other than the processor, as for a disk.
    """

    part: str
    name: str
    unit: str
    amount: float
    work: Callable[[], object]
    device: str = "cpu"
    threads: int = 1
    bound: str = ""
    bound_by: str = ""
    cost: float = 1.0
    note: str = ""
    waits: bool = False


@dataclass(frozen=True)
class Measured:
    """A task's rate: the median, and that of every round; and its shares of the limits of its kind, fastest first."""

    task: Task
    value: float
    rounds: tuple[float, ...]
    shares: tuple[tuple[Task, float], ...] = ()

    @property
    def share(self) -> float | None:
        """Its share of the fastest limit, None where none was measured."""
        return self.shares[0][1] if self.shares else None

    @property
    def limit(self) -> Task | None:
        """That limit."""
        return self.shares[0][0] if self.shares else None


def measure(tasks: Sequence[Task], *, rounds: int, seconds: float, progress: Progress) -> list[Measured]:
    """Measure tasks in turns.

    Args:
        tasks: What is measured; limits may be among them.
        rounds: Turns of every task, at least 1.
        seconds: Least length of a turn; a turn is at least one call.
        progress: Shows the turns.
    """
    for task in tasks:
        with using_threads(task.threads):
            task.work()
    turns = [(task, k) for _ in range(rounds) for k, task in enumerate(tasks)]
    rates: list[list[float]] = [[] for _ in tasks]
    for task, k in progress(turns, total=len(turns), label="measure"):
        rates[k].append(_rate(task, seconds))
    return [_measured(task, rates[k], tasks, rates) for k, task in enumerate(tasks)]


def _rate(task: Task, seconds: float) -> float:
    """Units a second in one turn.

    What keeps one thread busy is measured in seconds of the processor, which are the same on a machine that also does
    other work.
    """
    is_busy = task.device == "cpu" and task.threads == 1 and not task.waits
    clock = time.process_time if is_busy else time.perf_counter
    with using_threads(task.threads):
        calls, started, first = 0, time.perf_counter(), clock()
        while not calls or time.perf_counter() - started < seconds:
            task.work()
            calls += 1
        return calls * task.amount / max(clock() - first, 1e-9)


def _measured(task: Task, own: list[float], tasks: Sequence[Task], rates: list[list[float]]) -> Measured:
    limits = [
        k
        for k, other in enumerate(tasks)
        if task.bound_by
        and other.bound == task.bound_by
        and (other.device, other.threads) == (task.device, task.threads)
    ]
    shares = []
    for k in sorted(limits, key=lambda k: -median(rates[k])):
        share = median(rate * task.cost / limit for rate, limit in zip(own, rates[k], strict=True))
        shares.append((tasks[k], share))
    return Measured(task, median(own), tuple(own), tuple(shares))
