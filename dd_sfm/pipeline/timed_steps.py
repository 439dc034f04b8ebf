"""The steps of a command that has no stages to go on from: told, shown and timed."""

import time
from collections.abc import Callable
from typing import TypeVar

from dd_sfm.progress import Progress, begin_stage

Found = TypeVar("Found")


class TimedSteps:
    """Does steps one after the other; ``seconds``: what each took.

    Args:
        progress: Shows long steps.
        say: Given a line when a step begins.
    """

    def __init__(self, progress: Progress, say: Callable[[str], None]) -> None:
        self._progress, self._say, self.seconds = progress, say, dict[str, float]()

    def do(self, name: str, work: Callable[[], Found]) -> Found:
        """What ``work`` returns."""
        self._say(f"{name} ...")
        begin_stage(self._progress, name)
        started = time.monotonic()
        found = work()
        self.seconds[name] = round(time.monotonic() - started, 2)
        return found
