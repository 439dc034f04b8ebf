"""What a command says while it works, so that it is never silent for long: as lines, as bars, or as JSON."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO, TypeVar

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

    def elapsed(self) -> float:
        """Seconds since the command began."""
        return self._time.standing().elapsed

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
        """Show how the command ended, unless nobody reads any more; nothing is said after it."""
        with suppress(BrokenPipeError):
            self.rest()
            with self._lock:
                self.show.ends(code, error, self._time.standing())
        leave_closed_pipes()

    def before_fork(self) -> None:
        """Let nothing be shown while the process forks: the new one would wait for it for ever."""
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; the new process has no thread that looks after what is shown."""
        if in_child:
            self._lock, self._thread = threading.RLock(), None
            self._rests.set()
        else:
            self._lock.release()

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


_at_fork: list[Reporter] = []


def _before_fork() -> None:
    _current.before_fork()
    _at_fork.append(_current)


def _after_fork(*, in_child: bool) -> None:
    _at_fork.pop().after_fork(in_child=in_child)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=partial(_after_fork, in_child=False),
    after_in_child=partial(_after_fork, in_child=True),
)


def is_read(stream: TextIO) -> bool:
    """Whether what is written can still be read: not where the other end of a pipe was closed."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
        return not any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return True


def leave_closed_pipes() -> None:
    """Write nowhere where nobody reads: Python would complain at its end of what it could not write."""
    for stream in (sys.stdout, sys.stderr):
        if not is_read(stream):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for lines of JSON; two commands have a --json FILE of their own.

    It is known before the line is parsed, as what is wrong with it is told in JSON as well.
    """
    return "--json-lines" in arguments or ("--json" in arguments and arguments[:1] not in (["calibrate"], ["bench"]))


def _is_further_process(arguments: Sequence[str]) -> bool:
    """Whether torchrun started this process of a training beside the first, which speaks for all."""
    return arguments[:1] == ["train"] and os.environ.get("RANK", "0") != "0"


@contextmanager
def reporting(arguments: Sequence[str]) -> Iterator[Reporter]:
    """Say what the command of these arguments does while it runs."""
    global _current
    before = _current
    show: Show = Lines()
    if _is_further_process(arguments):
        show = Nothing()
    elif wants_json(arguments):
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
