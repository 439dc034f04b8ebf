"""The speed of a training, and its record: history.jsonl, one JSON object a line."""

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from dd_sfm.documents import parse_json, regular
from dd_sfm.io.atomic import output_error, write_text

ItemT = TypeVar("ItemT")
HISTORY = "history.jsonl"


class LoadingTimer:
    """Measures how much of the time is spent waiting for pairs."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.waited_s, self.paused_s, self.pairs = 0.0, 0.0, 0

    def time_batches(self, items: Iterator[list[ItemT]]) -> Iterator[list[ItemT]]:
        """Yield the batches unchanged, and add up the time spent waiting for them."""
        while True:
            before = time.monotonic()
            batch = next(items, None)
            self.waited_s += time.monotonic() - before
            if batch is None:
                return
            self.pairs += len(batch)
            yield batch

    def pause(self, seconds: float) -> None:
        """Leave out time that was not spent on training, such as validation."""
        self.paused_s += seconds

    @property
    def seconds(self) -> float:
        """Since the start, all included."""
        return time.monotonic() - self.started

    def speed(self, world_size: int = 1) -> dict[str, float]:
        """Pairs a second of all processes, and the share of the time spent waiting for them."""
        active = max(1e-9, self.seconds - self.paused_s)
        return {
            "pairs_per_s": round(self.pairs * world_size / active, 3),
            "waiting_share": round(self.waited_s / active, 4),
        }


def finished_step(out: Path) -> int | None:
    """The step at which the training in a folder ended, its weights written; None where it has not."""
    try:
        last = parse_json(regular(out / HISTORY).read_text().splitlines()[-1])
        return int(last["step"]) if last.get("finished") else None
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def trim_history(out: Path, step: int) -> None:
    """Remove records of steps after one, and the half of a line that a killed process has left.

    Raises:
        OutputError: If the history cannot be written.
    """
    path = out / HISTORY
    try:
        lines = regular(path).read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise output_error(path, OSError(str(error))) from error
    kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
    if kept != lines:
        write_text(path, "".join(kept))


def _step_of(line: str) -> float:
    """The step that a record is of; beyond all steps for what is no record."""
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def append_record(out: Path, record: dict[str, Any]) -> None:
    """Add a line to the history.

    Raises:
        OutputError: If it cannot be written.
    """
    path = out / HISTORY
    try:
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise output_error(path, error) from error
