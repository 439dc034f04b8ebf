"""How long stages report progress without printing: the command line passes a bar, tests pass nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

ItemT = TypeVar("ItemT")
AROUND = ("start", "coverage", "report")
"""What a run takes time for beside its stages."""


class Progress(Protocol):
    """Wraps an iterable and shows how far it is."""

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; ``total`` is their number, ``label`` names the step."""
        ...


@dataclass(frozen=True)
class Part:
    """A step that is to come: of which stage, its label, and the seconds it would take on a usual machine.

    Only how these seconds compare to each other counts: what has been done so far tells how fast the machine is.
    """

    stage: str
    label: str
    seconds: float


@runtime_checkable
class StagedProgress(Protocol):
    """Progress that also tells the time left of all stages; what a plain function cannot do."""

    def plan(self, parts: Sequence[Part]) -> None:
        """Take what is to come, in order; it replaces what was said to come before."""
        ...

    def begin(self, stage: str) -> None:
        """Note that a stage begins, and with it that those before it have ended."""
        ...


@runtime_checkable
class TimedProgress(Protocol):
    """Progress of a command, which knows when that began: before what it is made of was loaded."""

    def elapsed(self) -> float:
        """Seconds since the command began."""
        ...


def elapsed(progress: Progress) -> float:
    """Seconds since the command began that a run is a part of; 0 where nobody tells."""
    return progress.elapsed() if isinstance(progress, TimedProgress) else 0.0


def plan_ahead(progress: Progress, parts: Sequence[Part]) -> None:
    """Tell progress what is to come, where it takes that."""
    if isinstance(progress, StagedProgress):
        progress.plan(parts)


def begin_stage(progress: Progress, stage: str) -> None:
    """Tell progress that a stage begins, where it takes that."""
    if isinstance(progress, StagedProgress):
        progress.begin(stage)


def labelled(progress: Progress, task: str) -> Progress:
    """Progress of a task that is made of steps: its name goes before theirs."""

    def shown(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        return progress(items, total=total, label=f"{task}: {label}")

    return shown


@dataclass(frozen=True)
class OneOfSeveral:
    """Progress of one run of several: its name goes before its stages, and what is to come is planned for all runs."""

    progress: Progress
    name: str

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; see :class:`Progress`."""
        return self.progress(items, total=total, label=label)

    def plan(self, parts: Sequence[Part]) -> None:
        """Leave the plan of all runs as it is."""

    def begin(self, stage: str) -> None:
        """Note that a stage of this run begins."""
        begin_stage(self.progress, f"{self.name}: {stage}")


@dataclass(frozen=True)
class WithMore:
    """Progress of a task that another follows: ``more`` tells what that takes, whenever something is planned."""

    progress: Progress
    more: Callable[[], Sequence[Part]]

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; see :class:`Progress`."""
        return self.progress(items, total=total, label=label)

    def elapsed(self) -> float:
        """Seconds since the command began."""
        return elapsed(self.progress)

    def plan(self, parts: Sequence[Part]) -> None:
        """Take what is to come, and what follows it."""
        plan_ahead(self.progress, [*parts, *self.more()])

    def begin(self, stage: str) -> None:
        """Note that a stage begins."""
        begin_stage(self.progress, stage)


def silent(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
    """Progress that shows nothing."""
    return iter(items)
