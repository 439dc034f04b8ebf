"""The page of a single run: what was reconstructed, how good it is, what was missed, and the figures behind that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from dd_sfm import __version__
from dd_sfm.structures import DropReason
from dd_sfm.viz.report.coverage_pictures import MOST_HOLES
from dd_sfm.viz.report.facts import UNSURE_POSE, Facts
from dd_sfm.viz.report.interactive_view import InteractiveCloud
from dd_sfm.viz.report.page_parts import document, figure, viewer
from dd_sfm.viz.report.summary import Summary

SURE = 0.9
"""A confidence from which on a pose is as good as the clip allows."""
KINDS = {
    "in_view": "in view, measured all around",
    "at_edge": "in view, at the edge of the model",
    "out_of_view": "in view of no two frames",
}
DROPPED = {
    DropReason.BLANK: "blank",
    DropReason.OTHER_FIELD: "another field of view",
    DropReason.MASKED: "masked",
    DropReason.FEATURELESS: "nothing to match",
    DropReason.OBSCURED: "something before the scene",
    DropReason.BLURRED: "blurred",
    DropReason.NO_MOTION: "no motion",
    DropReason.UNDECODABLE: "could not be decoded",
    DropReason.OTHER_SIZE: "another size",
    DropReason.THINNED: "thinned out",
    DropReason.BETWEEN_KEYS: "between key frames",
}
MEANING = (
    "A hole says that no point was found there, not why. In view, or at the edge of the model, it may be smooth, shiny "
    "or dark tissue, tissue that moved, or tissue seen too flat. Out of view it lies behind a fold or between what the "
    "camera turned to, and the surface there is a guess. Where the model ends is no hole: what nothing around it shows "
    "is not found, so a surface without holes is no proof that all of the organ was seen."
)


STATES = {
    "sure": f"pose with a confidence from {SURE:g} on",
    "fair": f"from {UNSURE_POSE:g} on",
    "unsure": "below",
    "unchecked": "pose that was not checked",
    "lost": "no pose in the largest model",
}


@dataclass(frozen=True)
class FrameState:
    """A frame that was used: whether it has a pose in the first model, and how far that can be trusted, if known."""

    label: str
    has_pose: bool
    confidence: float | None = None

    @property
    def kind(self) -> str:
        """One of :data:`STATES`."""
        if not self.has_pose:
            return "lost"
        if self.confidence is None:
            return "unchecked"
        return "sure" if self.confidence >= SURE else "fair" if self.confidence >= UNSURE_POSE else "unsure"

    @property
    def text(self) -> str:
        """What is said of it."""
        known = "" if self.confidence is None or not self.has_pose else f", confidence {self.confidence:.2f}"
        return f"frame {self.label}: {'a pose' if self.has_pose else 'no pose'}{known}"


@dataclass(frozen=True)
class RunPictures:
    """Pictures of a run, PNG or JPEG, each with its caption.

    ``sides``: of the surface; ``frames``: with holes outlined; ``seen``: frames beside the cloud.
    """

    sides: Mapping[str, bytes] = field(default_factory=dict)
    frames: Mapping[str, bytes] = field(default_factory=dict)
    seen: Mapping[str, bytes] = field(default_factory=dict)
    outside: Mapping[str, bytes] = field(default_factory=dict)
    histograms: Mapping[str, bytes] = field(default_factory=dict)


def run_page(
    facts: Facts,
    summary: Summary,
    pictures: RunPictures,
    clouds: Sequence[InteractiveCloud],
    payload: Mapping[str, Any] | None,
    *,
    poses: Sequence[FrameState],
    title: str,
) -> str:
    """Put the page together.

    Args:
        facts: The figures of the run.
        summary: The sentences at the top.
        pictures: Its pictures.
        clouds: The cloud in the 3D view.
        payload: Data of the 3D view; None without a cloud.
        poses: The frames used, in their order.
        title: Name of the video.
    """
    further = "".join(f"<li>{escape(one.text)}</li>" for one in summary.further)
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<section class="verdict">',
        f"<p><b>What.</b> {escape(summary.what)}</p><p><b>How good.</b> {escape(summary.good)}</p>",
        f"<p><b>Next time.</b> {escape(summary.better)}</p></section>",
        f"<p>Also:</p><ul>{further}</ul>" if further else "",
        *_coverage(facts, pictures),
        *_cloud(pictures, clouds),
        *_frames(facts, poses),
        "<h2>Figures</h2>",
        _table(_rows(facts)),
        _grid(pictures.histograms, "grid single"),
        '<p class="soft">Counts on a logarithmic scale; dotted: medians. A reprojection error says how consistent a '
        "model is, not how accurate.</p>",
        _notes(facts),
        f"<footer>dd-sfm {__version__}. The figures of this page are in metrics.json and coverage.json, the surface is "
        "coverage.ply. Not for clinical use.</footer>",
    ]
    return document(f"dd-sfm: {title}", parts, payload)


def _cloud(pictures: RunPictures, clouds: Sequence[InteractiveCloud]) -> list[str]:
    if not clouds:
        return ["<h2>The cloud</h2>", "<p>It has no point.</p>"]
    return [
        "<h2>What the camera sees</h2>",
        _grid(pictures.seen, "grid pairs"),
        '<p class="soft">A frame of the video, and the cloud through the camera of that frame. White: no point.</p>',
        "<h2>The cloud from outside</h2>",
        _grid(pictures.outside, "grid wide"),
        viewer(clouds),
    ]


def _grid(pictures: Mapping[str, bytes], kind: str = "grid") -> str:
    figures = "".join(figure(image, caption, caption) for caption, image in pictures.items())
    return f'<div class="{kind}">{figures}</div>' if figures else ""


def _coverage(facts: Facts, pictures: RunPictures) -> list[str]:
    heading = "<h2>What was seen, and what was missed</h2>"
    if facts.coverage("measured_share") is None:
        found = facts.metrics.get("coverage")
        reason = found.get("reason") if isinstance(found, Mapping) else None
        return [heading, f"<p>Not known: {escape(str(reason or 'the run holds no figures of it'))}.</p>"]
    most = int(facts.coverage("views_most") or 0)
    chips = (
        f'<p class="legend"><span>seen by few <i class="ramp"></i> {most} or more frames</span>'
        '<span><i class="bare"></i> in view, no points</span><span><i class="unseen"></i> a hole out of view</span>'
        "<span>line: path of the camera, from its dot</span></p>"
    )
    frames = ""
    if pictures.frames:
        frames = (
            "<h3>Holes in the frames that show most of them</h3>"
            + _grid(pictures.frames, "grid wide")
            + '<p class="soft">Numbers are those of the table. What hides a hole is judged by the surface found.</p>'
        )
    return [heading, chips, _grid(pictures.sides), f'<p class="soft">{escape(MEANING)}</p>', _holes(facts), frames]


def _holes(facts: Facts) -> str:
    if not facts.holes:
        return ""
    lines = []
    for number, hole in enumerate(facts.holes[:MOST_HOLES], 1):
        frame = hole.get("frame")
        cells = (
            str(number),
            KINDS.get(str(hole.get("kind")), "not known"),
            _text(hole.get("area_share"), lambda v: f"{100 * v:.2g} %"),
            _text(hole.get("width"), lambda v: f"{v:.3g}"),
            "-" if frame is None else str(frame),
        )
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    rest = len(facts.holes) - MOST_HOLES
    more = f'<p class="soft">{rest} smaller ones are in coverage.json.</p>' if rest > 0 else ""
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in (
            "hole",
            "where",
            "share of the surface in view",
            f"width [{escape(facts.unit)}]",
            "lies in frame",
        )
    )
    table = f'<table class="holes"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<div class="wide">{table}</div>{more}'


def _text(value: Any, write: Any) -> str:
    return str(write(value)) if isinstance(value, int | float) else "-"


def _frames(facts: Facts, poses: Sequence[FrameState]) -> list[str]:
    """A strip of the frames that were used, and why others were not."""
    bars = [
        f'<rect class="{state.kind}" x="{k}" y="0" width="1.02" height="1"><title>{escape(state.text)}</title></rect>'
        for k, state in enumerate(poses)
    ]
    strip = (
        f'<svg class="strip" viewBox="0 0 {max(1, len(bars))} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="How far the pose of each frame can be trusted">{"".join(bars)}</svg>'
    )
    ends = f"<span>frame {escape(poses[0].label)}</span><span>{escape(poses[-1].label)}</span>" if poses else ""
    known = {state.kind for state in poses}
    chips = "".join(f'<span><i class="{kind}"></i> {text}</span>' for kind, text in STATES.items() if kind in known)
    left_out = [f"{number:,} {DROPPED[reason]}" for reason, number in facts.dropped.items() if number]
    dropped = f"Left out before: {', '.join(left_out)}." if left_out else "No frame was left out before."
    return [
        "<h2>Frames</h2>",
        f'{strip}<p class="ends">{ends}</p>' if bars else "",
        f'<p class="legend">{chips}</p>' if chips else "",
        f'<p class="soft">{escape(dropped)}</p>',
    ]


def _rows(facts: Facts) -> list[tuple[str, str]]:
    """Names and values of the figures, those that are known."""

    def row(name: str, key: str, write: Any) -> list[tuple[str, str]]:
        value = facts.number(key)
        return [] if value is None else [(name, write(value))]

    camera = {"calibration": "calibration", "clip": "estimated from the clip", "assumed": "assumed"}
    origin = camera.get(str(facts.metrics.get("camera_from")))
    seconds = facts.metrics.get("seconds")
    total = seconds.get("total") if isinstance(seconds, Mapping) else None
    return [
        *row("points", "points", lambda v: f"{int(v):,}"),
        *row("observations", "observations", lambda v: f"{int(v):,}"),
        *row("views of a point, mean", "mean_track_length", lambda v: f"{v:.1f}"),
        *row("reprojection error, median [px]", "median_reprojection_error_px", lambda v: f"{v:.2f}"),
        *row("reprojection error, 90 % below [px]", "p90_reprojection_error_px", lambda v: f"{v:.2f}"),
        *row("expected error of a point, median [% of distance]", "median_uncertainty", lambda v: f"{100 * v:.2g}"),
        *row("triangulation angle, median [deg]", "median_triangulation_angle_deg", lambda v: f"{v:.1f}"),
        *row("focal length [px]", "lens_focal_length_px", lambda v: f"{v:.1f}"),
        *([("camera from", origin)] if origin else []),
        *([("time [s]", f"{total:,.0f}")] if isinstance(total, int | float) else []),
    ]


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in rows)
    return f'<table class="figures"><tbody>{lines}</tbody></table>'


def _notes(facts: Facts) -> str:
    notes = facts.metrics.get("degradations")
    texts = [str(note) for note in notes] if isinstance(notes, list) else []
    if not texts:
        return ""
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
