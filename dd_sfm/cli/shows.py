"""How what a command does is shown: lines in a file or pipe, bars on a terminal, JSON for other programs."""

import json
import os
import sys
import time
from typing import Any, Protocol

from tqdm import tqdm

from dd_sfm.cli.time_left import Standing, duration
from dd_sfm.errors import one_line

LINE_INTERVAL_S = 7.0
"""After so long without a line the next item of a step is told..."""
SILENCE_S = 8.0
"""...and after so long that the work goes on, whatever it does."""
FIRST_S = 6.0
"""The same for a command that has not said anything yet."""
STEP_INTERVAL_S = 5.0
"""Steps that begin sooner after the last line than this are not told."""
JSON_INTERVAL_S = 1.0
"""Between two lines of JSON on the items of a step."""
JSON_SILENCE_S = 5.0
"""After so long without one, a line of JSON says how things stand."""
USUAL_WIDTH, USUAL_HEIGHT = 80, 24
"""Columns and lines of a terminal that does not tell its size."""
BAR_INTERVAL_S = 1.0
"""Between two looks at the time on a terminal."""


class Show(Protocol):
    """How what a command does is shown; ``now`` is how far it is."""

    def stage_begins(self, now: Standing) -> None:
        """A stage of several steps begins."""

    def step_begins(self, now: Standing) -> None:
        """A step begins."""

    def moves(self, now: Standing) -> None:
        """One more item of a step is done."""

    def step_ends(self, label: str, now: Standing) -> None:
        """The step of this label is over."""

    def ticks(self, now: Standing) -> None:
        """Time passes."""

    def says(self, text: str) -> None:
        """The command has something to say."""

    def warns(self, text: str) -> None:
        """The command warns."""

    def clear(self) -> None:
        """Something else is about to be printed."""

    def ends(self, code: int, error: str, now: Standing) -> None:
        """The command has ended with this exit code and, unless it is 0, because of this."""


class Nothing:
    """Shows warnings and errors alone."""

    def stage_begins(self, now: Standing) -> None:
        """Show nothing."""

    def step_begins(self, now: Standing) -> None:
        """Show nothing."""

    def moves(self, now: Standing) -> None:
        """Show nothing."""

    def step_ends(self, label: str, now: Standing) -> None:
        """Show nothing."""

    def ticks(self, now: Standing) -> None:
        """Show nothing."""

    def says(self, text: str) -> None:
        """Show nothing."""

    def warns(self, text: str) -> None:
        """Print the warning."""
        self.clear()
        print(f"warning: {one_line(text)}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave everything as it is: nothing is in the way."""

    def ends(self, code: int, error: str, now: Standing) -> None:
        """Print the error."""
        if error:
            print(f"dd-sfm: {error}", file=sys.stderr, flush=True)


class Lines(Nothing):
    """Prints lines on stderr, where that is no terminal.

    A step of a single item, which has no progress to tell, is named at once, others when the last line is no new one.
    """

    def __init__(self) -> None:
        self._text, self._at = "", time.monotonic()

    def step_begins(self, now: Standing) -> None:
        """Name it, unless the last line does, or is new."""
        if self._text != f"{now.step} ..." and (now.of == 1 or self._silent_s() >= STEP_INTERVAL_S):
            self._print(f"  {now.step} ...")

    def moves(self, now: Standing) -> None:
        """Tell how far it is when nothing was said for long."""
        if self._silent_s() >= LINE_INTERVAL_S and now.done != now.of:
            self._print(f"  {words(now)}")

    def ticks(self, now: Standing) -> None:
        """Tell how far it is when nothing was said for too long."""
        # Before it is heard for the first time Python has taken its time to start.
        if self._silent_s() >= (SILENCE_S if self._text else FIRST_S):
            self._print(f"  {words(now)}")

    def says(self, text: str) -> None:
        """Print it."""
        self._print(one_line(text))

    def _silent_s(self) -> float:
        return time.monotonic() - self._at

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self._text, self._at = text.strip(), time.monotonic()


class Bars(Nothing):
    """Shows a bar on the terminal for each step, and a clock where there is none."""

    def __init__(self) -> None:
        self._bars: list[Any] = []
        self._clock: Any = None
        self._at = self._ticked = time.monotonic()

    def stage_begins(self, now: Standing) -> None:
        """Begin the stage's own clock."""
        self.clear()

    def step_begins(self, now: Standing) -> None:
        """Show its bar."""
        self.clear()
        self._bars.append(_bar(total=now.of, desc=f"  {now.step}"))

    def moves(self, now: Standing) -> None:
        """Move the bar."""
        if self._bars:
            self._bars[-1].update(1)

    def step_ends(self, label: str, now: Standing) -> None:
        """Take the bar away."""
        if self._bars:
            self._bars.pop().close()
        self._at = time.monotonic()

    def ticks(self, now: Standing) -> None:
        """Let the clocks go on."""
        at = time.monotonic()
        if at - self._ticked < BAR_INTERVAL_S:
            return
        self._ticked = at
        beside = ", ".join(filter(None, [now.note, _overall(now)]))
        if self._bars:
            self._bars[-1].set_postfix_str(beside, refresh=True)
        elif self._clock is not None or at - self._at > 2 * BAR_INTERVAL_S:
            if self._clock is None:
                self._clock = _bar(desc=f"  {now.stage or 'working'}", bar_format="{desc}: {elapsed}{postfix}")
            self._clock.set_postfix_str(beside, refresh=True)

    def says(self, text: str) -> None:
        """Print it above the bars."""
        self.clear()
        tqdm.write(one_line(text), file=sys.stderr)

    def clear(self) -> None:
        """Take the clock away."""
        if self._clock is not None:
            self._clock.close()
            self._clock = None
        self._at = time.monotonic()


def _bar(**more: Any) -> Any:
    """A bar as wide as the terminal, also on one that does not tell its size."""
    try:
        has_width = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        has_width = False
    width: dict[str, Any] = {"dynamic_ncols": True} if has_width else {"ncols": USUAL_WIDTH, "nrows": USUAL_HEIGHT}
    return tqdm(file=sys.stderr, leave=False, **width, **more)


class JsonLines(Nothing):
    """Prints one JSON object a line on stdout; see docs/progress.md. Warnings and errors are on stderr as well."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def stage_begins(self, now: Standing) -> None:
        """Tell of it."""
        self._print({"event": "stage", **_figures(now)})

    def step_begins(self, now: Standing) -> None:
        """Tell of it."""
        self._print({"event": "progress", **_figures(now)})

    def moves(self, now: Standing) -> None:
        """Tell of it now and then, and of the last item."""
        if now.done == now.of or time.monotonic() - self._at >= JSON_INTERVAL_S:
            self._print({"event": "progress", **_figures(now)})

    def ticks(self, now: Standing) -> None:
        """Tell how far everything is when nothing was told for long."""
        if time.monotonic() - self._at >= JSON_SILENCE_S:
            self._print({"event": "progress", **_figures(now)})

    def says(self, text: str) -> None:
        """Tell it."""
        self._print({"event": "message", "text": one_line(text)})

    def warns(self, text: str) -> None:
        """Tell it, and print it as ever."""
        super().warns(text)
        self._print({"event": "warning", "text": one_line(text)})

    def ends(self, code: int, error: str, now: Standing) -> None:
        """Tell it, and print the error as ever."""
        super().ends(code, error, now)
        self._print({"event": "end", "code": code, "error": error or None, "elapsed": round(now.elapsed, 1)})

    def _print(self, content: dict[str, Any]) -> None:
        print(json.dumps(content), flush=True)
        self._at = time.monotonic()


def _figures(now: Standing) -> dict[str, Any]:
    left, overall = (None if value is None else round(value, 1) for value in (now.left, now.overall))
    return {
        "stage": now.stage,
        "step": now.step,
        "done": now.done,
        "of": now.of,
        "seconds": round(now.seconds, 1),
        "left": left,
        "overall": overall,
        "elapsed": round(now.elapsed, 1),
        **({"note": now.note} if now.note else {}),
    }


def _overall(now: Standing) -> str:
    return "" if now.overall is None else f"about {duration(now.overall)} left in all"


def words(now: Standing) -> str:
    """How far a command is, in a line."""
    name = now.step or now.stage or "working"
    is_counted = bool(now.done) and now.of != 1
    parts = [f"{now.done} of {now.of}" if is_counted else f"{duration(now.seconds)} so far"]
    if is_counted and now.left is not None:
        parts.append(f"about {duration(now.left)} left")
    beside = _overall(now)
    if beside and not (is_counted and now.overall == now.left):
        parts.append(beside)
    return f"{name}: {', '.join(filter(None, [*parts, now.note]))}"
