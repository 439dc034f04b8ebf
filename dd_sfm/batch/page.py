"""The page of a batch: a row, a picture and what went less well for each video. It needs no script and no network."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from dd_sfm import __version__

STYLE = """
td, th { text-align: left; vertical-align: top; } td { white-space: normal; } td.number { text-align: right; }
td img { display: block; width: 320px; height: auto; border-radius: 4px; }
tr.failed td.status { color: #a3261b; font-weight: 650; } td.words { overflow-wrap: anywhere; }
tr.above td, tr.above th { border-bottom: 0; padding-bottom: 0.2em; }
ul { margin: 0; padding-left: 1.1em; }
"""
HEADINGS = ("", "video", "", "frames", "points", "reprojection", "expected error", "time", "memory")
REPORT = "report.html"
"""The page of a run or a comparison in its folder."""
COMPARED = {"learned": "learned", "sift": "SIFT", "sift_default": "SIFT, defaults"}


def page(content: Mapping[str, Any]) -> str:
    """Make the page of what ``batch.json`` holds; all texts in it are escaped."""
    title = f"dd-sfm batch: {content['manifest']}"
    videos: Sequence[Mapping[str, Any]] = content["videos"]
    failed = [video for video in videos if video["status"] == "failed"]
    others = [video for video in videos if video["status"] != "failed"]
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in HEADINGS)
    rows = "".join(map(_row, [*failed, *others]))
    waiting = ", ".join(content["waiting"])
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head>",
        f'<body><main><h1>{escape(title)}</h1><p class="lead">{escape(counts(content))}</p>',
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>',
        f"<h2>Waiting</h2><p>{escape(waiting)}</p>" if waiting else "",
        f"<footer>dd-sfm {__version__}. Every number of this page is in batch.json. Not for clinical use.</footer>",
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def counts(content: Mapping[str, Any]) -> str:
    """How many videos came to what, in words."""
    parts = [
        f"{content['done']} done",
        *([f"{content['skipped']} done before"] if content["skipped"] else []),
        *([f"{content['failed']} failed"] if content["failed"] else []),
        *([f"{len(content['waiting'])} waiting"] if content["waiting"] else []),
    ]
    return f"{content['total']} videos: {', '.join(parts)}"


def figures_in_words(video: Mapping[str, Any]) -> str:
    """The main figures of a video in a few words, for a line on the terminal."""
    parts = [part for _, metrics in _runs(video) for part in (_frames(metrics), _points(metrics)) if part]
    return ", ".join(parts)


def _style() -> str:
    # Read without importing the room of pictures, which takes seconds.
    return (files("dd_sfm.viz.report") / "assets" / "report.css").read_text(encoding="utf-8") + STYLE


def _row(video: Mapping[str, Any]) -> str:
    name, status = str(video["name"]), str(video["status"])
    # The path and not the name in it: a name that begins like a scheme would be a link to elsewhere.
    link = f'<a href="./{quote(name)}/">{escape(name)}</a>'
    if status != "failed" and _has_report(video):
        link += f'<br><a href="./{quote(name)}/{REPORT}">report</a>'
    picture = video.get("picture")
    shown = f'<img loading="lazy" alt="" src="./{quote(str(picture), errors="replace")}">' if picture else ""
    runs = list(_runs(video))
    cells = [
        f'<td rowspan="2">{shown}</td>',
        f'<th scope="row">{link}</th>',
        _cell(escape({"skipped": "done before"}.get(status, status)), "status"),
        *(_column(runs, make) for make in (_frames, _points, _reprojection, _expected)),
        _cell(escape(f"{float(video.get('seconds') or 0):.0f} s"), "number"),
        _column(runs, _memory),
    ]
    # What went less well stands below the figures, where lines are long enough to be read.
    words = f'<td class="words" colspan="{len(HEADINGS) - 1}">{_words(video)}</td>'
    return f'<tr class="{escape(status)} above">{"".join(cells)}</tr><tr>{words}</tr>'


def _has_report(video: Mapping[str, Any]) -> bool:
    """Whether there is a page on what became of a video: of a model, and not of frames alone."""
    return any(metrics.get("points") is not None for _, metrics in _runs(video))


def _runs(video: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The runs of a video with their labels: one, or those of a comparison."""
    metrics = video.get("metrics") or {}
    compared = [(label, metrics[name]) for name, label in COMPARED.items() if isinstance(metrics.get(name), dict)]
    return compared or [("", metrics)]


def _column(runs: Sequence[tuple[str, Mapping[str, Any]]], make: Any) -> str:
    lines = [(label, make(metrics)) for label, metrics in runs]
    return _cell("<br>".join(escape(f"{label}: {text}" if label else text) for label, text in lines if text), "number")


def _cell(content: str, kind: str = "") -> str:
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"


def _words(video: Mapping[str, Any]) -> str:
    error, verdict = video.get("error"), (video.get("metrics") or {}).get("verdict")
    lines = [f"<strong>{escape(str(error))}</strong>"] if error else []
    lines += [escape(str(verdict))] if verdict else []
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in video.get("degradations") or [])
    return "<br>".join(lines) + (f"<ul>{notes}</ul>" if notes else "")


def _frames(metrics: Mapping[str, Any]) -> str:
    used, registered = metrics.get("frames_used"), metrics.get("frames_registered")
    if used is None:
        return ""
    return f"{registered} of {used} frames" if registered is not None else f"{used} frames"


def _points(metrics: Mapping[str, Any]) -> str:
    points = metrics.get("points")
    return "" if points is None else f"{points:,} points"


def _reprojection(metrics: Mapping[str, Any]) -> str:
    median, most = metrics.get("median_reprojection_error_px"), metrics.get("p90_reprojection_error_px")
    return "" if median is None or most is None else f"{median:.2f} / {most:.2f} px"


def _expected(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("median_uncertainty")
    return f"{100 * found:.1f} %" if found else ""


def _memory(metrics: Mapping[str, Any]) -> str:
    peak = metrics.get("peak_rss_mb")
    return f"{peak / 1000:.1f} GB" if peak else ""
