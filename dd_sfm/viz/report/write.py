"""The comparison's report: pictures, figures, and one page that opens offline by a double click."""

from pathlib import Path
from typing import Any

from dd_sfm.evaluation.comparison.compare import MADE_BY, plain_figures
from dd_sfm.evaluation.comparison.result import Comparison
from dd_sfm.io.atomic import write_bytes, write_text
from dd_sfm.io.staging import check_folder, check_replaceable, staged_folder
from dd_sfm.viz.render.figures import png
from dd_sfm.viz.report.cloud_payload import MOST_POINTS, points_that_fit, view_payload
from dd_sfm.viz.report.clouds import cloud_figures
from dd_sfm.viz.report.figures import histogram_figure, timeline_figure, trajectory_figure
from dd_sfm.viz.report.matches import match_figures
from dd_sfm.viz.report.page import page

MARKER = "report.json"
PAGE_BYTES = 23_000_000
"""Pictures and points of a page, at most: with script and text it stays below 25 MB."""


def check_report(out: Path) -> None:
    """See that a report may be written, before the work that leads to it.

    Raises:
        OutputError: If files of its names are not from an earlier report.
    """
    check_folder(out, overwrite=True)
    check_replaceable(out, MARKER, MADE_BY, ["report.html"])


def write_report(out: Path, comparison: Comparison, *, title: str, most_points: int = MOST_POINTS) -> Path:
    """Write report.html, report.json and figures/*.png.

    Args:
        out: The comparison's folder; what an earlier report wrote there is replaced, everything else stays.
        comparison: What to report.
        title: Name of the video.
        most_points: Points of a cloud in the 3D view.

    Returns:
        Path of the page.

    Raises:
        OutputError: If it cannot be written, or files of these names are not from an earlier report.
    """
    check_report(out)
    figures = {
        "timeline.png": timeline_figure(comparison),
        **cloud_figures(comparison),
        "trajectories.png": trajectory_figure(comparison),
        "histograms.png": histogram_figure(comparison),
    }
    pictures, pairs = match_figures(comparison)
    images = {name: png(figure) for name, figure in figures.items()}
    # Photographs twice over: coarser, or they would be half of the page.
    images |= {name: png(figure, dpi=105) for name, figure in pictures.items()}
    room = PAGE_BYTES - 4 / 3 * sum(map(len, images.values()))
    payload, clouds = view_payload(comparison, min(most_points, points_that_fit(comparison, room)))
    record: dict[str, Any] = plain_figures(comparison.figures | {"match_pairs": pairs})
    content = page(comparison, images, pairs, payload, clouds, title=title)
    with staged_folder(out, MARKER, record, overwrite=True) as staging:
        (staging / "figures").mkdir()
        for name, image in images.items():
            write_bytes(staging / "figures" / name, image)
        write_text(staging / "report.html", content)
    return out / "report.html"
