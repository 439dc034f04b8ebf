"""Rows a part at a time: what is made of all of them at once can take gigabytes."""

from collections.abc import Iterator


def slices(count: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` rows each, one after the other, that hold all of ``count``; the last may reach beyond."""
    return (slice(first, first + size) for first in range(0, count, size))
