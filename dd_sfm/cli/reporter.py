"""What a command says while it works, so that it is never silent for long: as lines, as bars, or as JSON."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from dd_sfm.cli.shows import Bars, JsonLines, Lines, Nothing, Show
from dd_sfm.cli.time_left import TimeLeft
from dd_sfm.progress import Part

ItemT = TypeVar("ItemT")
TICK_S = 0.5
"""How often is looked whether something has to be said."""


class Reporter:
    """Takes note of what a command does, and has it shown; see :class:`dd_sfm.progress.StagedProgress`.

    Its methods may be called while a thread of its own keeps what is shown alive.
    """

    def __init__(self, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self.show = show
        self._time = TimeLeft(clock)
        self._lock = threading.RLock()
        self._rests = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; see :class:`dd_sfm.progress.Progress`."""
        with self._lock:
            step = self._time.begin_step(label, total)
            self.show.step_begins(self._time.standing())
        try:
            for item in items:
                yield item
                with self._lock:
                    step.done += 1
                    self.show.moves(self._time.standing())
        finally:
            with self._lock:
                self._time.end_step(step)
                self.show.step_ends(label, self._time.standing())

    def plan(self, parts: Sequence[Part]) -> None:
        """Take what is to come; see :class:`dd_sfm.progress.StagedProgress`."""
        with self._lock:
            self._time.plan(parts)

    def begin(self, stage: str) -> None:
        """Note that a stage begins."""
        with self._lock:
            self._time.begin_stage(stage)
            self.show.stage_begins(self._time.standing())

    def say(self, text: str) -> None:
        """Show a line."""
        with self._lock:
            self.show.says(text)

    def warn(self, text: str) -> None:
        """Show a warning, also where little is shown."""
        with self._lock:
            self.show.warns(text)

    def set_note(self, text: str) -> None:
        """Show a short text beside the step from now on."""
        self._time.note = text

    def clear(self) -> None:
        """Make room for what is printed past this reporter."""
        with self._lock:
            self.show.clear()

    def rest(self) -> None:
        """Say no more by itself: what follows waits for the user, or is over."""
        self._rests.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.clear()

    def end(self, code: int, error: str = "") -> None:
        """Show how the command ended; nothing is said after it."""
        self.rest()
        with self._lock:
            self.show.ends(code, error, self._time.standing())

    def start(self) -> None:
        """Look after what is shown from now on, in a thread that ends with the process."""
        thread = threading.Thread(target=self._look_after, daemon=True, name="progress")
        # Where there is no room for one more thread, what the work itself needs will be missing, which is then told.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _look_after(self) -> None:
        # Where nobody reads any more, the work itself finds out when it has something to say.
        with suppress(OSError, ValueError):
            while not self._rests.wait(TICK_S):
                with self._lock:
                    self.show.ticks(self._time.standing())


_current = Reporter(Lines())


def reporter() -> Reporter:
    """That of the command that runs."""
    return _current


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for lines of JSON; two commands have a --json FILE of their own.

    It is known before the line is parsed, as what is wrong with it is told in JSON as well.
    """
    return "--json-lines" in arguments or ("--json" in arguments and arguments[:1] not in (["calibrate"], ["bench"]))


@contextmanager
def reporting(arguments: Sequence[str]) -> Iterator[Reporter]:
    """Say what the command of these arguments does while it runs."""
    global _current
    before = _current
    show: Show = Lines()
    if wants_json(arguments):
        show = JsonLines()
    elif "--quiet" in arguments:
        show = Nothing()
    elif sys.stderr.isatty():
        show = Bars()
    _current = Reporter(show)
    _current.start()
    try:
        yield _current
    finally:
        _current.rest()
        _current = before


class Status:
    """Progress with a short text beside it, as a training shows its loss."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; see :class:`dd_sfm.progress.Progress`."""
        found: Iterator[ItemT] = self._progress(items, total=total, label=label)
        return found

    def set_status(self, text: str) -> None:
        """Show a text beside the step from now on."""
        if isinstance(self._progress, Reporter):
            self._progress.set_note(text)
