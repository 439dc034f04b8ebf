"""The time that a command will still take, from what its parts have taken so far."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dd_sfm.progress import Part

TRUSTED_S = 5.0
"""So many seconds of the usual machine speak for this one being as fast, against those that were measured."""
LEAST_MEASURED_S = 1.0
"""A step that runs for less tells nothing of its speed."""
OVERDUE = 0.2
"""A part that has taken longer than expected is expected to take this share of its time more."""


@dataclass(frozen=True)
class Standing:
    """How far a command is.

    ``stage``, ``step``: what is being done, "" if nothing was said; ``done`` of ``of`` items of the step, None between
    steps; ``seconds`` since the stage began and ``elapsed`` since the command did; ``left``: seconds left of the stage,
    ``overall`` of all, which is the same where nothing was planned, None where unknown; ``note``: what is said beside
    the step.
    """

    stage: str
    step: str
    done: int | None
    of: int | None
    seconds: float
    left: float | None
    overall: float | None
    elapsed: float
    note: str = ""


@dataclass
class Step:
    """A step that is being done: ``expected`` seconds on the usual machine, 0 where it was not planned."""

    label: str
    total: int
    begun: float
    expected: float = 0.0
    done: int = 0


@dataclass
class TimeLeft:
    """Takes note of what is planned, begun and done; tells what is left of it."""

    clock: Callable[[], float] = time.monotonic
    note: str = ""
    _parts: list[Part] = field(default_factory=list)
    _planned: bool = False
    _stage: str = ""
    _steps: list[Step] = field(default_factory=list)
    _measured: float = 0.0
    _expected: float = 0.0

    def __post_init__(self) -> None:
        self._begun = self._stage_begun = self._since = self.clock()

    def plan(self, parts: Sequence[Part]) -> None:
        """Replace what is to come."""
        self._parts, self._planned = list(parts), bool(parts)

    def begin_stage(self, stage: str) -> None:
        """Note that a stage begins; what was planned before it is over."""
        now = self.clock()
        # What a stage was expected to do and did not show, and the time after its last step, are its own as well.
        self._expected += sum(part.seconds for part in self._parts if self._stage and part.stage == self._stage)
        self._measured += now - self._since if self._expected else 0.0
        if any(part.stage == stage for part in self._parts):
            while self._parts[0].stage != stage:
                self._parts.pop(0)
        else:
            self._parts = [part for part in self._parts if part.stage != self._stage]
        self._stage, self._stage_begun, self._since = stage, now, now

    def begin_step(self, label: str, total: int) -> Step:
        """Note that a step begins; returns it, for the other notes."""
        known = next((k for k, part in enumerate(self._parts) if self._is_here(part) and part.label == label), None)
        expected = 0.0
        if known is not None:
            expected = self._parts[known].seconds
            self._parts = self._parts[known + 1 :] if not self._steps else self._parts
        step = Step(label, total, self.clock(), expected)
        self._steps.append(step)
        return step

    def end_step(self, step: Step) -> None:
        """Note that a step has ended; what went before it since the last one counts as its own."""
        if step not in self._steps:
            return
        self._steps.remove(step)
        self.note = ""
        if not self._steps and step.expected:
            now = self.clock()
            self._measured += now - self._since
            self._expected += step.expected
            self._since = now

    def standing(self) -> Standing:
        """How far everything is at this moment."""
        now = self.clock()
        step = self._steps[-1] if self._steps else None
        rate = (self._measured + TRUSTED_S) / (self._expected + TRUSTED_S)
        here = rate * sum(part.seconds for part in self._parts if self._is_here(part))
        later = rate * sum(part.seconds for part in self._parts if not self._is_here(part))
        current = self._left_of_step(step, now, rate) if step else None
        left: float | None = None
        if step is not None:
            left = None if current is None else current + here
        elif self._planned:
            # Between two steps the time runs that the next one is expected to take.
            left = max(here - (now - self._since), OVERDUE * here)
        return Standing(
            self._stage or (step.label if step else ""),
            step.label if step else "",
            step.done if step else None,
            step.total if step else None,
            now - self._stage_begun if self._stage or step is None else now - step.begun,
            left,
            None if left is None else left + later,
            now - self._begun,
            self.note,
        )

    def _is_here(self, part: Part) -> bool:
        return not self._stage or part.stage == self._stage

    def _left_of_step(self, step: Step, now: float, rate: float) -> float | None:
        """Seconds left of a step by its own speed, else by what was planned for it."""
        taken = now - step.begun
        if step.done >= step.total:
            return 0.0
        if step.total > 1 and step.done and (taken > LEAST_MEASURED_S or not step.expected):
            return max(0.0, taken / step.done * (step.total - step.done))
        if not step.expected:
            return None
        return max(rate * step.expected - taken, OVERDUE * taken)


def duration(seconds: float) -> str:
    """Seconds in words, as precisely as one would say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{seconds / 3600:.1f} h"
