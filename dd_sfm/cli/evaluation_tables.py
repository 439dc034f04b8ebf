"""Tables of ``dd-sfm evaluate``. Cells are rich ``Text``, as a name like [real] would be read as markup."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dd_sfm.cli.console import console

if TYPE_CHECKING:
    from dd_sfm.evaluation.matching.measure import MatchingResult
    from dd_sfm.evaluation.realism import PictureStatistics


def evaluation_table(figures: dict[str, Any]) -> None:
    """Print the tables of ``evaluate model``."""
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
    if points["reprojection_median_px"] is not None:
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
        table.add_row(*map(Text, row))
    for warning in figures["warnings"]:
        table.add_row("WARNING", Text(warning), style="bold red")
    screen = console()
    screen.print(table)
    screen.print(_grid(_gap_rows(figures["relative_pose"], short)))
    if figures["surface"]:
        screen.print(_grid(_best_rows(figures["surface"])))
    if figures["calibration"]:
        screen.print(_calibration_table(figures["calibration"]))


def _surface_rows(surface: dict[str, Any]) -> list[tuple[str, str]]:
    own, each = surface["aligned_by_points"], surface["per_point"]
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
            "error of observations",
            f"median {surface['error_median_mm']:.4g} mm, 90 % below {surface['error_p90_mm']:.4g} mm; of the "
            f"distance: median {100 * surface['error_median_rel']:.3g} %, 90 % below "
            f"{100 * surface['error_p90_rel']:.3g} %; {surface['observations_with_depth']:,} in frames with true depth",
        ),
        (
            "  aligned by points",
            f"median {own['error_median_mm']:.4g} mm, 90 % below {own['error_p90_mm']:.4g} mm, scale times "
            f"{own['scale_ratio']:.4f}",
        ),
        (
            "error of points",
            f"median {each['error_median_mm']:.4g} mm, 90 % below {each['error_p90_mm']:.4g} mm; {each['points']:,} "
            "points, each by the median of its observations",
        ),
        ("surface with a point", covered),
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
    head = [
        f"best points by {surface['best_by']}",
        "error of observations median, mm",
        "90 % below",
        "surface with a point within 0.5 mm",
        "within 1 mm",
    ]
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


def _calibration_table(calibration: dict[str, Any]) -> Table:
    head = ["error, % of the distance: expected", "true, median", "true / expected", "true, 90 % below", "points"]
    body = [
        [
            f"{100 * r['predicted_median']:.3g}",
            f"{100 * r['actual_median']:.3g}",
            "" if r["actual_over_predicted"] is None else f"{r['actual_over_predicted']:.2f}",
            f"{100 * r['actual_p90']:.3g}",
            f"{r['points']:,}",
        ]
        for r in calibration["bins"]
    ]
    table = _grid([head, *body])
    rank, growth = calibration["rank_correlation"], calibration["growth_when_doubled"]
    known = [f"rank correlation {rank:.2f}"] if rank is not None else []
    known += (
        [f"where twice the error is expected, the true one is {growth:.2g} times as large"]
        if growth is not None
        else []
    )
    known.append(
        f"{100 * calibration['gross_share']:.0f} % of the points are more than three times as wrong as expected"
    )
    table.title, table.title_justify = Text("; ".join(["uncertainty of points", *known])), "left"
    return table


def _grid(rows: list[list[str]]) -> Table:
    """A table of numbers; the first row is its head."""
    table = Table()
    for name in rows[0]:
        table.add_column(Text(name), justify="right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def matching_table(results: "Sequence[MatchingResult]", thresholds_px: Sequence[float], unit: str) -> None:
    """Print the table of ``evaluate matching``: shares in percent, thresholds in source or working pixels."""
    head = ["sequence", "gap", "method", "pairs", "points", *(f"{t:g} px" for t in thresholds_px), "median px"]
    rows = []
    order = {data: k for k, data in enumerate(dict.fromkeys(r.data for r in results))}
    # Folders of the same name are shown by their paths.
    alike = len({r.row.name for r in results}) < len(order)
    for result in sorted(results, key=lambda r: (order[r.data], r.row.gap)):
        row, factor = result.row, result.scale if unit == "working" else 1.0
        shares = [f"{100 * share:.1f}" for share in row.pck]
        cells = [
            result.data if alike else row.name,
            str(row.gap),
            result.method,
            str(row.pairs),
            str(row.points),
            *shares,
        ]
        rows.append([*cells, f"{row.median_error_px * factor:.2f}"])
    table = _grid([head, *rows])
    table.title, table.title_justify = Text(f"points found [%], thresholds in {unit} pixels"), "left"
    console().print(table)


def realism_table(
    real: Sequence[tuple[str, "PictureStatistics"]], clips: Sequence[tuple[str, "PictureStatistics", dict[str, float]]]
) -> None:
    """Print the statistics of real clips, then of rendered ones with their ratios to the mean of the real ones."""
    table = Table(title=Text("rendered clips beside real ones" if real else "rendered clips"), title_justify="left")
    table.add_column("")
    for name, _ in real:
        table.add_column(Text(name), justify="right")
    for name, _, _ in clips:
        table.add_column(Text(name), justify="right")
        if real:
            table.add_column("ratio", justify="right")
    for figure in asdict(clips[0][1]):
        row = [figure.replace("_", " "), *(f"{getattr(values, figure):.3g}" for _, values in real)]
        for _, values, ratio in clips:
            row += [f"{getattr(values, figure):.3g}", *([f"{ratio[figure]:.2f}"] if real else [])]
        table.add_row(*map(Text, row))
    console().print(table)
