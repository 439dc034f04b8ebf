"""The HTML page of the report of a comparison."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dd_sfm import __version__
from dd_sfm.evaluation.comparison.result import Comparison
from dd_sfm.evaluation.comparison.table import Row, table_rows
from dd_sfm.viz.report.interactive_view import InteractiveCloud
from dd_sfm.viz.report.page_parts import document, figure, viewer

ALT_TEXT = {
    "timeline.png": "Which frames each run registered",
    "camera_view.png": "Frames of the video beside the clouds seen through the same cameras",
    "clouds.png": "The clouds from outside",
    "trajectories.png": "Camera paths of the runs",
    "histograms.png": "Histograms of reprojection error, track length and triangulation angle",
    "matches_near.png": "Matches between two near frames",
    "matches_far.png": "Matches between two frames far apart",
}

CAMERA_FROM = {"clip": " (the camera estimated from the clip)", "assumed": " (the camera assumed, not calibrated)"}
"""By where runs have their camera from what the page says of it."""


def page(
    comparison: Comparison,
    images: Mapping[str, bytes],
    pairs: Sequence[Mapping[str, Any]],
    payload: Mapping[str, Any],
    clouds: Sequence[InteractiveCloud],
    *,
    title: str,
) -> str:
    """Put the whole page together.

    Args:
        comparison: The result to report.
        images: PNG files by name, those of :data:`ALT_TEXT`.
        pairs: Numbers of the match pictures.
        payload: Data of the 3D view.
        clouds: The clouds in the 3D view.
        title: Name of the video.
    """
    apart = [c.label for c in comparison.with_model if not c.aligned]
    parts = [
        f"<h1>dd-sfm and SIFT on {escape(title)}</h1>",
        f'<p class="lead">{escape(_lead(comparison))}</p>',
        f'<p class="verdict">{escape(comparison.figures["verdict"])}</p>',
        _failures(comparison),
        _warnings(comparison),
        _table(comparison),
        _explanation(comparison),
        "<h2>Frames</h2>",
        _figure(images, "timeline.png", "Frames of the source with a pose in the largest model of each run."),
        "<h2>What the camera sees</h2>",
        _figure(
            images,
            "camera_view.png",
            "Left: frames of the video. Right: the clouds through the camera of that frame, every point a disc of the "
            "same size. White: no point.",
        ),
        "<h2>The clouds from outside</h2>",
        _figure(images, "clouds.png", "The same viewpoints and the same discs for all; coloured lines: camera paths."),
        viewer(clouds, f" Not aligned: {', '.join(apart)}." if apart else ""),
        "<h2>Matches</h2>",
        _matches(images, pairs),
        "<h2>Camera paths</h2>",
        _figure(images, "trajectories.png", _paths(comparison)),
        "<h2>Errors, track lengths and angles</h2>",
        _figure(images, "histograms.png", "Counts on a logarithmic scale; dotted: medians."),
        _notes(comparison),
        f"<footer>dd-sfm {__version__}. Every number of this page is in report.json, every picture in figures/. "
        "Not for clinical use.</footer>",
    ]
    return document(f"dd-sfm and SIFT: {title}", parts, payload)


def _lead(comparison: Comparison) -> str:
    sources = {column.metrics.get("camera_from") for column in comparison.columns}
    camera = next((words for source, words in CAMERA_FROM.items() if source in sources), "")
    what = f"{len(comparison.frames)} frames, the same masks and camera for all runs{camera}"
    reference = comparison.figures["reference"]
    if comparison.figures["warnings"]:
        return f"{what}; not measured against {reference}."
    return f"{what}; measured against {reference}." if reference else f"{what}; no reference."


def _failures(comparison: Comparison) -> str:
    failed = [c for c in comparison.columns if c.failure]
    return "".join(f"<p><strong>{escape(c.label)} found no model.</strong> {escape(c.failure)}</p>" for c in failed)


def _warnings(comparison: Comparison) -> str:
    return "".join(f"<p><strong>Warning.</strong> {escape(text)}</p>" for text in comparison.figures["warnings"])


def _table(comparison: Comparison) -> str:
    head = "".join(f'<th scope="col" class="{c.name}">{escape(c.label)}</th>' for c in comparison.columns)
    lines = [f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>']
    group = ""
    for row in table_rows(comparison):
        if row.group != group:
            group = row.group
            width = 1 + len(comparison.columns)
            lines.append(f'<tr class="group"><th scope="rowgroup" colspan="{width}">{escape(group)}</th></tr>')
        lines.append(f'<tr><th scope="row">{escape(row.label)}</th>{_cells(row)}</tr>')
    return "".join([*lines, "</tbody></table></div>"])


def _cells(row: Row) -> str:
    kinds = ["better" if row.better == k else "plain" for k in range(len(row.cells))]
    return "".join(f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in zip(kinds, row.cells, strict=True))


def _explanation(comparison: Comparison) -> str:
    number = comparison.figures["points_at_equal_number"]
    lines = []
    if number is not None:
        lines.append(
            f"A mean over all points favours the run that keeps few. So the best {number:,} points of each are "
            "compared as well, ranked by the error that each run expects of its points (points.ply: uncertainty)."
        )
    if comparison.figures["reference"] is None or comparison.figures["warnings"]:
        lines.append(
            "A reprojection error says how consistent a model is, not how accurate: true errors are known for rendered "
            "clips, compared with --reference."
        )
    elif comparison.unit != "mm":
        lines.append(
            "The reference is itself a reconstruction: differences as small as its own errors do not tell which run is "
            "right."
        )
    lines.append(
        "Each run drops observations beyond a limit of its own, which lowers its reprojection error; true errors do "
        "not depend on that."
    )
    lines.append(
        "SIFT is COLMAP's own from features to points. A tick marks the better of the first two columns, however "
        "small the difference; the sentence above counts differences below 2 % as equal, of cameras below 10 %."
    )
    return f'<p class="soft">{escape(" ".join(lines))}</p>'


def _figure(images: Mapping[str, bytes], name: str, caption: str) -> str:
    return figure(images.get(name), ALT_TEXT[name], caption)


def _matches(images: Mapping[str, bytes], pairs: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for name in ("near", "far"):
        rows = [p for p in pairs if p["pair"] == name]
        if not rows:
            continue
        first, second = rows[0]["frames"]
        truth = any(p["right_share"] is not None for p in rows)
        colour = "Green: correct, red: wrong, white: not known." if truth else "Coloured by position."
        figures.append(
            _figure(
                images,
                f"matches_{name}.png",
                f"Frames {first} (above) and {second}. Matches that one epipolar geometry explains within 2 px, the "
                f"same test for all; some are joined by lines. {colour}",
            )
        )
    return "".join(figures)


def _paths(comparison: Comparison) -> str:
    parts = []
    for column in comparison.columns[1:]:
        alignment = column.figures.get("alignment")
        if alignment:
            parts.append(
                f"{column.label}: aligned by {alignment['images_used']} of {alignment['images_common']} common images, "
                f"{alignment['camera_distance_rms_pct_path']:.2g} % of the path apart (rms)"
            )
    return "; ".join(parts) + "." if parts else "No two runs were aligned."


def _notes(comparison: Comparison) -> str:
    notes = [*comparison.figures["notes"], *comparison.run_notes]
    if not notes:
        return ""
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(notes)) + "</ul>"
