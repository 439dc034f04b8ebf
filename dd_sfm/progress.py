"""How long stages report progress without printing: the command line passes a bar, tests pass nothing."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

ItemT = TypeVar("ItemT")


class Progress(Protocol):
    """Wraps an iterable and shows how far it is."""

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; ``total`` is their number, ``label`` names the stage."""
        ...


def labelled(progress: Progress, task: str) -> Progress:
    """Progress of a task that is made of stages: its name goes before theirs."""

    def shown(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        return progress(items, total=total, label=f"{task}: {label}")

    return shown


def silent(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
    """Progress that shows nothing."""
    return iter(items)
