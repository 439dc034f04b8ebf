"""What commands print on the terminal: progress bars, messages, the summary of a run."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from dd_sfm.errors import one_line
from dd_sfm.notes import NoteCode
from dd_sfm.progress import Progress, silent

ItemT = TypeVar("ItemT")
LINE_INTERVAL_S = 30.0
"""Seconds between lines of progress where the output is not a terminal."""
STEP_INTERVAL_S = 5.0
"""Where the output is not a terminal, steps that begin sooner after the last line than this are not told."""


@dataclass
class _LastLine:
    """The last line of a command on stderr: progress without a terminal adds what it does not say."""

    text: str = ""
    at: float = 0.0

    def print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self.text, self.at = text.strip(), time.monotonic()


_last_line = _LastLine()


def make_progress(quiet: bool) -> Progress:
    """A progress bar on a terminal, lines of progress where the output goes to a file, nothing when quiet."""
    if quiet:
        return silent
    if not sys.stderr.isatty():
        return _progress_lines

    def bar(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        return iter(tqdm(items, total=total, desc=f"  {label}", leave=False, dynamic_ncols=True))

    return bar


def _progress_lines(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
    """Yield ``items``; print the name of the step, and when nothing was said for half a minute how many are done.

    A step of a single item, which has no progress to tell, is named at once, others when the last line is no new one.
    """
    started = time.monotonic()
    is_named = _last_line.text == f"{label} ..."
    if not is_named and (total == 1 or started - _last_line.at >= STEP_INTERVAL_S):
        is_named = True
        _last_line.print(f"  {label} ...")
    for done, item in enumerate(items):
        now = time.monotonic()
        if not is_named and now - _last_line.at >= STEP_INTERVAL_S:
            is_named = True
            _last_line.print(f"  {label} ...")
        if now - _last_line.at >= LINE_INTERVAL_S and done:
            left = (now - started) / done * (total - done)
            _last_line.print(f"  {label}: {done} of {total}, about {left:.0f} s left")
        yield item


class StatusBar:
    """A progress bar with a short text beside it; nothing when quiet or when the output goes to a file."""

    def __init__(self, quiet: bool) -> None:
        self.is_shown = not quiet and sys.stderr.isatty()
        self.bar: Any = None

    def __call__(self, items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        """Yield ``items`` unchanged; see :class:`dd_sfm.progress.Progress`."""
        if not self.is_shown:
            return silent(items, total=total, label=label)
        self.bar = tqdm(items, total=total, desc=f"  {label}", leave=False, dynamic_ncols=True)
        return iter(self.bar)

    def set_status(self, text: str) -> None:
        """Show a text beside the bar from now on."""
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)


def make_say(quiet: bool) -> Callable[[str], None]:
    """Make a function that prints a line on stderr, or nothing when quiet."""

    def say(text: str) -> None:
        if not quiet:
            _last_line.print(one_line(text))

    return say


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr, also with --quiet."""
    for warning in warnings:
        print(f"warning: {one_line(warning)}", file=sys.stderr)


@contextmanager
def show_log(quiet: bool) -> Iterator[None]:
    """Print what the package logs, line by line above any progress bar; nothing when quiet."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tqdm.write(one_line(record.getMessage()), file=sys.stderr)

    logger, handler = logging.getLogger("dd_sfm"), Lines(logging.ERROR if quiet else logging.INFO)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _expected(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of the expected error; none for runs without one."""
    expected = metrics.get("median_uncertainty")
    if not expected:
        return []
    doubted = any(NoteCode(code).doubts_camera for code in metrics["degradation_codes"])
    condition = ", if the camera is right" if doubted else ""
    return [("expected error", f"half of the points within {100 * expected:.1f} % of their distance{condition}")]


def _poses(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of how far poses can be trusted; none for runs without it."""
    median, least = metrics.get("pose_confidence_median"), metrics.get("pose_confidence_least")
    return [] if median is None else [("confidence", f"of poses {median:.2f} in the median, {least:.2f} at least")]


def _field(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of the field of view; none where nothing of it was lost, and for runs of older versions."""
    kept = metrics.get("field_kept")
    return [] if kept is None or kept > 0.9995 else [("field of view", f"{100 * kept:.1f} % kept without distortion")]


def _instruments(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of instruments; none where none was found, and for runs of older versions."""
    share = metrics.get("instruments_share")
    return [("instruments", f"{100 * share:.1f} % of the usable area of all frames, masked")] if share else []


def _focal_length(metrics: dict[str, Any]) -> str:
    """That of the lens in the source's pixels, how sure it is, and that of the frames where it is another."""
    frames = metrics["focal_length_px"]
    # Runs of older versions tell neither that of the lens nor where the camera comes from.
    focal, sigma = metrics.get("lens_focal_length_px", frames), metrics.get("lens_focal_sigma_px", 0.0)
    text = f"{focal:.1f} px" + (f" +- {sigma:.1f}" if sigma else "")
    if focal != frames:
        text += f", {frames:.1f} px in frames without distortion"
    source = metrics.get("camera_from", "calibration" if metrics["calibrated"] else "assumed")
    kind = f", --lens {metrics['lens']}" if metrics.get("lens", "unknown") != "unknown" else ""
    return text + {"calibration": "", "clip": f" (estimated from the clip{kind})"}.get(
        source, f" (not calibrated{kind})"
    )


def _frames(metrics: dict[str, Any]) -> str:
    """Numbers of frames: in the source, chosen, dropped and registered."""
    total, used = metrics["frames_total"], metrics["frames_used"]
    chosen = metrics["frames_chosen"]
    parts = [f"{total} in source"]
    parts += [f"{chosen} chosen"] if chosen != total else []
    # Runs of older versions did not tell the thinned ones apart.
    thinned = metrics.get("frames_thinned", 0)
    parts += [f"{thinned} thinned out"] if thinned else []
    parts += [f"{chosen - used - thinned} dropped"] if used + thinned != chosen else []
    posed = metrics.get("frames_posed")
    more = f"; {posed} of {chosen} have a pose" if posed else ""
    return f"{metrics['frames_registered']} of {used} registered ({', '.join(parts)}){more}"


def _seconds(metrics: dict[str, Any]) -> str:
    """Seconds of every stage; stages kept from an earlier run are marked, and left out of a second sum."""
    seconds, kept = dict(metrics["seconds"]), metrics["stages_kept"]
    total = seconds.pop("total")
    parts = [f"{stage} {value:.0f}{' (kept)' if stage in kept else ''}" for stage, value in seconds.items()]
    new = sum(value for stage, value in seconds.items() if stage not in kept)
    return f"{', '.join(parts)}; {total:.0f} in all{f', {new:.0f} without what was kept' if kept else ''}"


def _memory(metrics: dict[str, Any]) -> str:
    """Peak memory; marked where stages kept from an earlier run took it."""
    kept = metrics["stages_kept"]
    is_all = all(stage in kept for stage in metrics["seconds"] if stage != "total")
    of = " (kept)" if is_all else " (with what was kept)" if kept else ""
    return f"{metrics['peak_rss_mb'] / 1000:.2f} GB, GPU {metrics['peak_gpu_mb'] / 1000:.2f} GB{of}"


def summary(metrics: dict[str, Any], out: str) -> None:
    """Print the summary of a run."""
    # Text, as rich takes a folder called [real] for markup.
    title = Text(f"{metrics['features']} reconstruction: {out}")
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="left")
    models = " + ".join(map(str, metrics["models"]))
    rows = [
        ("frames", _frames(metrics)),
        ("models", f"{models} frames, by the {metrics['mapper']} mapper"),
        *_poses(metrics),
        ("points", f"{metrics['points']:,}"),
        ("observations", f"{metrics['observations']:,}, {metrics['mean_track_length']} a point"),
        (
            "reprojection",
            f"median {metrics['median_reprojection_error_px']:.2f} px, 90 % below "
            f"{metrics['p90_reprojection_error_px']:.2f} px",
        ),
        ("triangulation angle", f"median {metrics['median_triangulation_angle_deg']:.1f} deg"),
        *_expected(metrics),
        *_field(metrics),
        *_instruments(metrics),
        ("focal length", _focal_length(metrics)),
        ("seconds", _seconds(metrics)),
        ("memory", _memory(metrics)),
    ]
    for row in rows:
        table.add_row(*map(Text, row))
    for note in metrics["degradations"]:
        table.add_row("note", Text(one_line(note)))
    console().print(table)


def console() -> Console:
    """The console for tables; of a fixed width where the output is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 110)
