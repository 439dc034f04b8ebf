"""What commands print: messages, tables, the summary of a run."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dd_sfm.cli.reporter import reporter
from dd_sfm.cli.shows import Bars, Lines
from dd_sfm.errors import one_line
from dd_sfm.notes import NoteCode
from dd_sfm.progress import AROUND, Progress, silent


def make_progress(quiet: bool) -> Progress:
    """Progress as the command shows it; nothing when quiet."""
    return silent if quiet else reporter()


def make_say(quiet: bool) -> Callable[[str], None]:
    """Make a function that shows a line, or nothing when quiet."""
    return (lambda text: None) if quiet else reporter().say


def has_tables(quiet: bool) -> bool:
    """Whether tables for people are printed; room is then made for them."""
    shown = not quiet and isinstance(reporter().show, Lines | Bars)
    if shown:
        reporter().clear()
    return shown


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr, also with --quiet."""
    for warning in warnings:
        reporter().warn(warning)


@contextmanager
def show_log(quiet: bool) -> Iterator[None]:
    """Print what the package logs, line by line; only errors when quiet."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = one_line(record.getMessage())
            if quiet:
                print(text, file=sys.stderr)
            else:
                reporter().say(text)

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


def _measured(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of what of the surface in view has points; none where that is not known."""
    share = metrics.get("coverage", {}).get("measured_share")
    return [] if share is None else [("surface in view", f"{100 * share:.0f} % of it has points; see report.html")]


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
    is_work = any(stage not in kept for stage in seconds if stage not in AROUND)
    new = sum(value for stage, value in seconds.items() if stage not in kept and (is_work or stage not in AROUND))
    return f"{', '.join(parts)}; {total:.0f} in all{f', {new:.0f} without what was kept' if kept else ''}"


def _memory(metrics: dict[str, Any]) -> str:
    """Peak memory; marked where stages kept from an earlier run took it."""
    kept = metrics["stages_kept"]
    is_all = all(stage in kept for stage in metrics["seconds"] if stage not in ("total", *AROUND))
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
        *_measured(metrics),
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
