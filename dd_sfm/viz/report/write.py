"""Write the report of a comparison: pictures, figures, and one page that opens offline by a double click."""

from pathlib import Path

from dd_sfm.evaluation.comparison.compare import MADE_BY
from dd_sfm.evaluation.comparison.result import Comparison
from dd_sfm.io.atomic import write_bytes, write_text
from dd_sfm.io.links import check_no_links
from dd_sfm.io.staging import check_folder, check_replaceable, staged_folder
from dd_sfm.viz.render.evaluation_plots import png
from dd_sfm.viz.report.clouds import cloud_figures
from dd_sfm.viz.report.interactive_view import MAX_POINTS, interactive_view, points_that_fit
from dd_sfm.viz.report.matches import match_figures
from dd_sfm.viz.report.page import page
from dd_sfm.viz.report.plots import histogram_figure, timeline_figure, trajectory_figure

MARKER = "report.json"
MAX_PAGE_BYTES = 23_000_000
"""Largest size of pictures and points in a page: with script and text it stays below 25 MB."""


def check_report(out: Path) -> None:
    """Check that a report may be written, before the work that leads to it.

    Raises:
        OutputError: If there are files of the same names that are not from an earlier report, or a link in the place of
            the folder of its figures.
    """
    check_folder(out, overwrite=True)
    check_no_links(out, ["figures"])
    check_replaceable(out, MARKER, MADE_BY, ["report.html"])


def write_report(out: Path, comparison: Comparison, *, title: str, max_points: int = MAX_POINTS) -> Path:
    """Write report.html, report.json and figures/*.png.

    Args:
        out: Folder of the comparison; an earlier report in it is replaced, everything else stays.
        comparison: The result to report.
        title: Name of the video.
        max_points: Largest number of points of a cloud in the 3D view.

    Returns:
        Path of the page.

    Raises:
        OutputError: If it cannot be written, or there are files of the same names that are not from an earlier report.
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
    # Each holds two photographs: at full resolution they would be half of the page.
    images |= {name: png(figure, dpi=105) for name, figure in pictures.items()}
    room = MAX_PAGE_BYTES - 4 / 3 * sum(map(len, images.values()))
    payload, clouds = interactive_view(comparison, min(max_points, points_that_fit(comparison, room)))
    record = comparison.figures | {"match_pairs": pairs}
    content = page(comparison, images, pairs, payload, clouds, title=title)
    with staged_folder(out, MARKER, record, overwrite=True) as staging:
        (staging / "figures").mkdir()
        for name, image in images.items():
            write_bytes(staging / "figures" / name, image)
        write_text(staging / "report.html", content)
    return out / "report.html"
