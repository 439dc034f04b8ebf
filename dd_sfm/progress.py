"""How long stages report progress without printing: the command line passes a bar, tests pass nothing."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

ItemT = TypeVar("ItemT")


class Progress(Protocol):
    """Wraps an iterable and shows how far it is."""

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; ``total`` is their number, ``label`` names the stage."""
        ...


def silent(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
    """Progress that shows nothing."""
    return iter(items)
