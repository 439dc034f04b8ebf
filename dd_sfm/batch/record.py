"""What a batch has done: batch.json, which a repeated command goes on from, and the page beside it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dd_sfm import __version__
from dd_sfm.batch.names import PAGE, PICTURES, RECORD
from dd_sfm.batch.page import page
from dd_sfm.batch.storage import Store, inside, is_url
from dd_sfm.batch.task import RESULTS, Ending, Outcome, VideoTask
from dd_sfm.documents import finite, parse_json
from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import json_content, text_bytes

MADE_BY = "dd-sfm batch"
FIGURES = (
    "frames_used", "frames_registered", "points", "median_reprojection_error_px", "p90_reprojection_error_px",
    "median_uncertainty", "peak_rss_mb",
)  # fmt: skip
"""Of a run, on the page."""
QUICK_S, REST = 0.03, 10
"""What takes longer to write is left alone for so many times as long."""


@dataclass
class BatchRecord:
    """The videos of a batch in the order of its manifest, and what became of each.

    Args:
        store: Where the batch writes to.
        title: The manifest, for the page.
        videos: By name what ``batch.json`` holds of it; None as long as nothing came of it.
    """

    store: Store
    title: str
    videos: dict[str, dict[str, Any] | None]
    started_s: float = field(default_factory=time.monotonic)
    _saved_s: float = 0.0
    _took_s: float = 0.0
    _changed: bool = False

    def skip(self, earlier: Mapping[str, Any], tasks: Sequence[VideoTask], inputs: Mapping[str, str]) -> None:
        """Enter what an earlier call has done with the same inputs and options."""
        for task in tasks:
            old = earlier.get(task.name, {})
            is_same = old.get("inputs") == inputs[task.name] and old.get("status") in ("done", "skipped")
            if is_same and not task.overwrite and self.store.has(task.name, RESULTS[task.command]):
                self.videos[task.name] = {**old, "status": "skipped"}

    def left(self, tasks: Sequence[VideoTask]) -> list[VideoTask]:
        """The videos that are not done."""
        return [task for task in tasks if (self.videos[task.name] or {}).get("status") != "skipped"]

    def enter(self, task: VideoTask, outcome: Outcome, inputs: str, tries: int) -> None:
        """Enter what became of a video, and keep its picture; :meth:`save` writes it."""
        picture = f"{PICTURES}/{task.name}.jpg" if outcome.picture else ""
        if picture:
            self.store.write(picture, outcome.picture)
        self._changed = True
        self.videos[task.name] = {
            "name": task.name,
            "status": "done" if outcome.ending is Ending.DONE else "failed",
            "error": outcome.error or None,
            "command": task.command.value,
            "run": inside(self.store.shown, task.name),
            "picture": picture or None,
            "seconds": outcome.seconds,
            "tries": tries,
            "machine": outcome.machine,
            "metrics": dict(outcome.metrics),
            "degradations": list(outcome.degradations),
            "inputs": inputs,
        }

    def count(self, *statuses: str) -> int:
        """How many videos have one of some statuses."""
        return sum((video or {}).get("status") in statuses for video in self.videos.values())

    @property
    def waiting(self) -> list[str]:
        """The videos of which nothing came yet."""
        return [name for name, video in self.videos.items() if video is None]

    def content(self) -> dict[str, Any]:
        """What ``batch.json`` holds."""
        return {
            "made_by": MADE_BY,
            "version": __version__,
            "manifest": self.title,
            "total": len(self.videos),
            "done": self.count("done"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "waiting": self.waiting,
            "seconds": round(time.monotonic() - self.started_s, 1),
            "videos": [video for video in self.videos.values() if video is not None],
        }

    def save_soon(self) -> None:
        """:meth:`save`, but where that takes long not more often than leaves time for other things.

        Raises:
            OutputError: If it cannot be written.
        """
        is_due = time.monotonic() - self._saved_s >= REST * self._took_s or self._took_s < QUICK_S
        if self._changed and is_due:
            self.save()

    def save(self) -> None:
        """Write ``batch.json`` and ``batch.html``.

        Raises:
            OutputError: If they cannot be written.
        """
        # Waiting for a disk of this machine keeps nobody from working; for a distant store it does.
        clock = time.monotonic if is_url(self.store.location) else time.thread_time
        began_s = clock()
        content = json_content(self.content())
        self.store.write(RECORD, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
        self.store.write(PAGE, text_bytes(page(content)))
        self._saved_s, self._took_s, self._changed = time.monotonic(), clock() - began_s, False


def read_record(store: Store) -> dict[str, Any]:
    """What an earlier call has entered of each video, by name; empty in a new folder.

    Raises:
        OutputError: If the folder holds files of the same names that no batch wrote, or a damaged record.
    """
    found = store.read(RECORD)
    if found is None:
        if store.has(PAGE):
            raise OutputError(f"{inside(store.shown, PAGE)}: exists and is not from {MADE_BY}; choose another -o")
        return {}
    where = inside(store.shown, RECORD)
    try:
        content = parse_json(found.decode())
        if content["made_by"] != MADE_BY:
            raise OutputError(f"{where}: exists and is not from {MADE_BY}; choose another folder with -o")
        return {str(video["name"]): _entry(video) for video in content["videos"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{where}: damaged ({' '.join(str(error).split())}); expected what {MADE_BY} writes. Remove it: runs in "
            "the folder are then looked through, and go on from where they are"
        ) from error


def _entry(video: Mapping[str, Any]) -> dict[str, Any]:
    """What the record holds of a video, as far as it is shown again.

    Raises:
        ValueError: If a figure is no number, or notes are no list.
    """
    entry = dict(video)
    metrics, notes = dict(entry.get("metrics") or {}), entry.get("degradations") or []
    for run in (metrics, *(one for one in metrics.values() if isinstance(one, dict))):
        for key in FIGURES:
            finite(run.get(key) or 0)
    finite(entry.get("seconds") or 0)
    if not isinstance(notes, list):
        raise ValueError(f"notes of {entry['name']} are no list")
    return entry | {"name": str(entry["name"]), "status": str(entry["status"]), "metrics": metrics}
