"""The table of a comparison, for the terminal and the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dd_sfm.evaluation.comparison.result import Comparison

UNKNOWN = "-"


@dataclass(frozen=True)
class Row:
    """A line of the table: a cell for every run, and which of the first two runs is ``better`` (0, 1 or None)."""

    group: str
    label: str
    cells: tuple[str, ...]
    better: int | None = None


@dataclass(frozen=True)
class _Figure:
    """How a figure is looked up, written and judged.

    ``direction``: 1 when more is better, -1 when less is better, 0 when neither is.
    """

    group: str
    label: str
    value: Callable[[dict[str, Any]], Any]
    text: Callable[[Any], str]
    direction: int = 0


def table_rows(comparison: Comparison) -> list[Row]:
    """All lines of the table; figures that no run has are left out."""
    per_run = [comparison.figures["runs"][c.name] for c in comparison.columns]
    number = comparison.figures["points_at_equal_number"]
    rows = []
    for figure in _figures(comparison, number):
        values = [_get(figure, f) for f in per_run]
        if any(v is not None for v in values):
            cells = tuple(UNKNOWN if v is None else figure.text(v) for v in values)
            rows.append(Row(figure.group, figure.label, cells, _better(values[:2], cells, figure.direction)))
    return rows


def _get(figure: _Figure, figures: dict[str, Any]) -> Any:
    """The value of a figure; None where a run does not have it."""
    try:
        return figure.value(figures)
    except (KeyError, TypeError):
        return None


def _better(values: Sequence[Any], cells: Sequence[str], direction: int) -> int | None:
    if direction == 0 or len(values) < 2 or None in values or cells[0] == cells[1]:
        return None
    return 0 if (values[0] > values[1]) == (direction > 0) else 1


def _count(value: Any) -> str:
    return f"{value:,}"


def _two(value: Any) -> str:
    return f"{value:.2f}"


def _short(value: Any) -> str:
    return f"{value:.3g}"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %"


def _seconds(value: Any) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def _figures(comparison: Comparison, number: int | None) -> list[_Figure]:
    unit = comparison.unit if comparison.unit == "mm" else "units"
    return [*_main(comparison), *_equal(number), *_truth(unit), *_cost()]


def _main(comparison: Comparison) -> list[_Figure]:
    return [
        _Figure("Frames", f"registered, of {len(comparison.frames)} used", lambda f: f["frames_registered"], _count, 1),
        _Figure("Frames", "models, frames of each", lambda f: f["models"], lambda v: " + ".join(map(str, v))),
        _Figure("Frames", "confidence of a pose, median", lambda f: f["metrics"]["pose_confidence_median"], _two, 1),
        _Figure("Frames", "confidence of a pose, least", lambda f: f["metrics"]["pose_confidence_least"], _two, 1),
        _Figure("Frames", "mapper", lambda f: f["metrics"]["mapper"], str),
        _Figure("Frames", "pairs verified, of tried", _pairs, str),
        _Figure("Cloud", "points", lambda f: f["points"], _count, 1),
        _Figure("Cloud", "in distinct cells of a pixel's width", lambda f: f["points_in_distinct_cells"], _count, 1),
        _Figure("Cloud", "observations", lambda f: f["observations"], _count, 1),
        _Figure("Cloud", "track length, mean", lambda f: f["track_length_mean"], lambda v: f"{v:.1f}", 1),
        _Figure("Cloud", "reprojection error, median [px]", lambda f: f["reprojection_median_px"], _two, -1),
        _Figure("Cloud", "reprojection error, 90 % below [px]", lambda f: f["reprojection_p90_px"], _two, -1),
        _Figure(
            "Cloud",
            "triangulation angle, median [deg]",
            lambda f: f["triangulation_angle_median_deg"],
            lambda v: f"{v:.1f}",
            1,
        ),
        _Figure("Cloud", "cameras apart from the first run's, rms [% of path]", _distance, _short),
    ]


def _pairs(figures: dict[str, Any]) -> str:
    metrics = figures["metrics"]
    return f"{metrics['pairs_verified']:,} of {metrics['pairs_tried']:,}"


def _distance(figures: dict[str, Any]) -> Any:
    return figures["alignment"]["camera_distance_rms_pct_path"]


def _equal(number: int | None) -> list[_Figure]:
    if number is None:
        return []
    group = f"At equal number: the {number:,} points of each with the least expected error"

    def best(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda f: f["best"][key]

    return [
        _Figure(group, "true error of a point, median [mm]", best("true_error_median_mm"), _short, -1),
        _Figure(group, "true error of a point, 90 % below [mm]", best("true_error_p90_mm"), _short, -1),
        _Figure(group, "of these with a known true error", best("points_with_truth"), _count),
        _Figure(group, "reprojection error, median [px]", best("reprojection_median_px"), _two, -1),
        _Figure(group, "reprojection error, 90 % below [px]", best("reprojection_p90_px"), _two, -1),
        _Figure(group, "track length, mean", best("track_length_mean"), lambda v: f"{v:.1f}", 1),
        _Figure(
            group,
            "triangulation angle, median [deg]",
            best("triangulation_angle_median_deg"),
            lambda v: f"{v:.1f}",
            1,
        ),
    ]


def _truth(unit: str) -> list[_Figure]:
    group = "Against the reference"

    def path(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda f: f["truth"]["trajectory"][key]

    def surface(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda f: f["truth"]["surface"][key]

    return [
        _Figure(group, "true error over all observations, median [mm]", surface("error_median_mm"), _short, -1),
        _Figure(group, "true error over all observations, 90 % below [mm]", surface("error_p90_mm"), _short, -1),
        _Figure(group, "surface with a point within 0.5 mm", surface("completeness_0.5mm"), _percent, 1),
        _Figure(group, "surface with a point within 1 mm", surface("completeness_1mm"), _percent, 1),
        _Figure(group, f"camera position error, rms [{unit}]", path("ate_rms"), _short, -1),
        _Figure(group, "camera position error, rms [% of path]", path("ate_rms_pct_path"), _short, -1),
        _Figure(group, "camera rotation error, median [deg]", path("rotation_median_deg"), _short, -1),
    ]


def _cost() -> list[_Figure]:
    def stage(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda f: f["metrics"]["seconds"][key] or None

    stages = {
        "frames": "extracting frames (once, shared)",
        "describe": "describing",
        "match": "matching (SIFT: features too)",
        "map": "mapping",
        "densify": "densifying",
        "total": "total",
    }
    return [
        *(_Figure("Cost", text, stage(key), _seconds) for key, text in stages.items()),
        _Figure("Cost", "memory at most", lambda f: f["metrics"]["peak_rss_mb"], lambda v: f"{v / 1000:.2f} GB"),
        _Figure(
            "Cost", "GPU memory at most", lambda f: f["metrics"]["peak_gpu_mb"] or None, lambda v: f"{v / 1000:.2f} GB"
        ),
    ]
