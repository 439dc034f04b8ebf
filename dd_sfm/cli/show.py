"""What the command line prints: progress bars, lines of stages, the summary table."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from dd_sfm.progress import Progress, silent

ItemT = TypeVar("ItemT")


def make_progress(quiet: bool) -> Progress:
    """A bar with time left on a terminal; nothing when quiet or when the output goes to a file."""
    if quiet or not sys.stderr.isatty():
        return silent

    def bar(items: Iterable[ItemT], *, total: int, label: str) -> Iterator[ItemT]:
        return iter(tqdm(items, total=total, desc=f"  {label}", leave=False, dynamic_ncols=True))

    return bar


def make_say(quiet: bool) -> Callable[[str], None]:
    """Prints a line on stderr, or nothing when quiet."""

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    return say


def summary(metrics: dict[str, Any], out: str) -> None:
    """The table at the end of a run."""
    table = Table(title=f"{metrics['features']} reconstruction: {out}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="left")
    frames = (
        f"{metrics['frames_registered']} of {metrics['frames_used']} registered ({metrics['frames_total']} in source)"
    )
    models = " + ".join(map(str, metrics["models"]))
    rows = [
        ("frames", frames),
        ("models", f"{models} frames, by the {metrics['mapper']} mapper"),
        ("points", f"{metrics['points']:,}"),
        ("observations", f"{metrics['observations']:,}, {metrics['mean_track_length']} a point"),
        (
            "reprojection",
            f"median {metrics['median_reprojection_error_px']:.2f} px, 90 % below "
            f"{metrics['p90_reprojection_error_px']:.2f} px",
        ),
        ("triangulation angle", f"median {metrics['median_triangulation_angle_deg']:.1f} deg"),
        ("focal length", f"{metrics['focal_length_px']} px{'' if metrics['calibrated'] else ' (not calibrated)'}"),
        ("seconds", ", ".join(f"{k} {v:.0f}" for k, v in metrics["seconds"].items())),
        ("memory", f"{metrics['peak_rss_mb'] / 1000:.2f} GB, GPU {metrics['peak_gpu_mb'] / 1000:.2f} GB"),
    ]
    for row in rows:
        table.add_row(*row)
    for note in metrics["degradations"]:
        table.add_row("note", note)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def evaluation_table(figures: dict[str, Any]) -> None:
    """The tables at the end of ``evaluate model``."""
    path, points, unit = figures["trajectory"], figures["points"], figures["unit"]
    short = unit if unit == "mm" else "units"
    table = Table(
        title=Text(f"{figures['model']} against {figures['reference']}"), show_header=False, title_justify="left"
    )
    table.add_column()
    table.add_column()
    used = f", {figures['frames_used']} used by the run" if figures["frames_used"] else ""
    rows = [
        (
            "frames",
            f"{figures['frames_registered']} registered of {figures['frames_total']}{used}; "
            f"{figures['frames_common']} compared",
        ),
        ("path", f"{path['path_length']:.4g} {unit}"),
        *(
            (
                f"position error {name}",
                f"{path[f'ate_{name}']:.4g} {short}, {path[f'ate_{name}_pct_path']:.3g} % of the path",
            )
            for name in ("rms", "median", "max")
        ),
        ("rotation error", f"median {path['rotation_median_deg']:.3f} deg, max {path['rotation_max_deg']:.3f} deg"),
        ("points", f"{points['points']:,}, in distinct cells {points['points_in_distinct_cells']:,}"),
        ("observations", f"{points['observations']:,}, {points['mean_track_length']:.2f} a point"),
    ]
    if points["observations"]:
        rows.append(
            (
                "reprojection",
                f"median {points['reprojection_median_px']:.3f} px, 90 % below {points['reprojection_p90_px']:.3f} px",
            )
        )
    if figures["surface"]:
        rows += _surface_rows(figures["surface"])
    rows += [("note", note) for note in figures["notes"]]
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(_grid(_gap_rows(figures["relative_pose"], short)))
    if figures["surface"]:
        console.print(_grid(_best_rows(figures["surface"])))


def _surface_rows(surface: dict[str, Any]) -> list[tuple[str, str]]:
    own = surface["aligned_by_points"]
    covered = ", ".join(
        f"{100 * surface[f'completeness_{key}']:.1f} % within {limit}"
        for key, limit in (
            ("0.5mm", "0.5 mm"),
            ("1mm", "1 mm"),
            ("0.5pct", "0.5 % of the distance"),
            ("1pct", "1 % of the distance"),
        )
    )
    return [
        (
            "point error",
            f"median {surface['error_median_mm']:.4g} mm, 90 % below {surface['error_p90_mm']:.4g} mm; of the "
            f"distance: median {100 * surface['error_median_rel']:.3g} %, 90 % below "
            f"{100 * surface['error_p90_rel']:.3g} %",
        ),
        (
            "aligned by its points",
            f"median {own['error_median_mm']:.4g} mm, 90 % below {own['error_p90_mm']:.4g} mm, scale times "
            f"{own['scale_ratio']:.4f}",
        ),
        ("surface found", covered),
    ]


def _gap_rows(rows: list[dict[str, Any]], unit: str) -> list[list[str]]:
    head = ["frame gap", "pairs", f"motion error median, {unit}", "rms", "rotation median, deg", "rms"]
    body = [
        [
            str(r["gap"]),
            str(r["pairs"]),
            f"{r['translation_median']:.4g}",
            f"{r['translation_rms']:.4g}",
            f"{r['rotation_median_deg']:.4f}",
            f"{r['rotation_rms_deg']:.4f}",
        ]
        for r in rows
    ]
    return [head, *body]


def _best_rows(surface: dict[str, Any]) -> list[list[str]]:
    head = [f"best points by {surface['best_by']}", "error median, mm", "90 % below", "within 0.5 mm", "within 1 mm"]
    body = [
        [
            f"{r['points']:,}",
            "none seen" if r["error_median_mm"] is None else f"{r['error_median_mm']:.4g}",
            "" if r["error_p90_mm"] is None else f"{r['error_p90_mm']:.4g}",
            f"{100 * r['completeness_0.5mm']:.1f} %",
            f"{100 * r['completeness_1mm']:.1f} %",
        ]
        for r in surface["best"]
    ]
    return [head, *body]


def _grid(rows: list[list[str]]) -> Table:
    """A table of numbers; the first row is its head."""
    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows[1:]:
        table.add_row(*row)
    return table
