"""Parts that the pages of reports share. Only the 3D view needs a script, and nothing is fetched from the network."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from dd_sfm.viz.report.interactive_view import InteractiveCloud

ASSETS = Path(__file__).parent / "assets"
COLOURS = (
    ("photo", "photo", " checked"),
    ("error", "error", ""),
    ("length", "track length", ""),
    ("uncertainty", "uncertainty", ""),
)


def document(title: str, parts: Sequence[str], payload: Mapping[str, Any] | None) -> str:
    """A whole page.

    Args:
        title: Of the page.
        parts: HTML of its parts; empty ones are left out.
        payload: Data of the 3D view; None for a page without one.
    """
    # An empty icon: browsers request one otherwise.
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{asset('report.css')}</style></head>"
    )
    scripts = "" if payload is None else _scripts(payload)
    body = [head, "<body><main>", *parts, "</main>", scripts, "</body></html>\n"]
    return "\n".join(part for part in body if part)


def figure(image: bytes | None, alt: str, caption: str) -> str:
    """A picture, PNG or JPEG, with its caption; "" without a picture."""
    if image is None:
        return ""
    kind = "jpeg" if image.startswith(b"\xff\xd8") else "png"
    source = base64.b64encode(image).decode()
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/{kind};base64,{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def viewer(clouds: Sequence[InteractiveCloud], aside: str = "") -> str:
    """The 3D view of clouds, and its controls; ``aside``: what else to say below it."""
    names = "".join(
        f'<span class="{c.content["name"]}" data-cloud="{c.content["name"]}">{escape(c.content["label"])}</span>'
        for c in clouds
    )
    buttons = "".join(
        f'<button type="button" id="show-{c.content["name"]}">{escape(c.content["label"])}</button>' for c in clouds
    )
    split = '<button type="button" id="split">side by side</button>' if len(clouds) > 1 else ""
    colours = "".join(
        f'<label><input type="radio" name="colour" value="{value}"{checked}> {text}</label>'
        for value, text, checked in COLOURS
        if value != "uncertainty" or all("uncertainty" in c.content for c in clouds)
    )
    thinned = [
        f"{c.content['label']}: {c.shown:,} of {c.total:,} points, chosen at random"
        for c in clouds
        if c.shown < c.total
    ]
    note = f"Thinned for this view only. {'; '.join(thinned)}." if thinned else "All points are shown."
    note = (
        f"Drag to turn, right button or two fingers to move, wheel or two fingers to zoom after a click. {note}{aside}"
    )
    return f"""<section id="interactive"><h2>{"Turn them" if len(clouds) > 1 else "Turn it"}</h2>
<noscript><p class="soft">This part needs JavaScript; everything else does not.</p></noscript>
<div class="noscript-hidden">
<div id="view"><div id="view-names">{names}</div></div>
<div id="view-controls">
<fieldset><legend>show</legend>{buttons}<button type="button" id="show-cameras">cameras</button>{split}</fieldset>
<fieldset><legend>colour</legend>{colours}</fieldset>
<label>point size <input type="range" id="size" min="1" max="8" step="0.5" value="3"></label>
<fieldset><button type="button" id="turn">turning</button>
<button type="button" id="reset">reset view</button></fieldset>
<span id="view-legend" hidden><span class="low"></span><i></i><span class="top"></span></span>
</div>
<p class="soft" id="view-note">{escape(note)}</p>
</div></section>"""


def _scripts(payload: Mapping[str, Any]) -> str:
    clouds = json.dumps(payload, separators=(",", ":")).replace("<", "\\u003c")
    return (
        "<script>document.documentElement.classList.add('js')</script>"
        f'<script type="application/json" id="clouds">{clouds}</script>'
        f"<script>{asset('three.min.js')}</script><script>{asset('viewer.js')}</script>"
    )


def asset(name: str) -> str:
    """The text of a file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8")
