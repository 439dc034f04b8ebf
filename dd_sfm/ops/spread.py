"""Some of many, evenly spread."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def spread_positions(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` positions, from the first to the last, ascending."""
    return sorted({int(position) for position in np.linspace(0, count - 1, min(count, most))})


def spread_over(items: Sequence[Item], most: int) -> list[Item]:
    """At most ``most`` items, from the first to the last."""
    return [items[position] for position in spread_positions(len(items), most)]
