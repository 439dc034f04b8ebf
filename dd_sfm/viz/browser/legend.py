"""Colour scales and their words, as HTML for the page's panel."""

import html
from collections.abc import Sequence

from dd_sfm.viz.render.colours import RUN_RGB, ColourScale, colour_table
from dd_sfm.viz.render.view_state import ViewState


def legend(state: ViewState) -> str:
    """The colour scale of the points as HTML; for runs their names, for photos nothing."""
    if state.colour == "run":
        rows = [
            f'<span style="color:{css(RUN_RGB[k])}">&#9632;</span> {html.escape(cloud.label)}'
            for k, cloud in enumerate(state.clouds)
        ]
        return block("<br>".join(rows))
    return "" if state.scale is None else scale_bar(state.scale)


def scale_bar(scale: ColourScale) -> str:
    """A colour scale as HTML, with its ends and its label below."""
    table = colour_table(scale.name)[::17]
    stops = ",".join(css(rgb) for rgb in table.tolist())
    bar = f'<div class="legend" style="height:12px;border-radius:3px;background:linear-gradient(90deg,{stops})"></div>'
    ends = (
        '<div style="display:flex;justify-content:space-between">'
        f"<span>{scale.low:.3g}</span><span>{html.escape(scale.label)}</span><span>{scale.high:.3g}</span></div>"
    )
    return block(bar + ends)


def css(rgb: Sequence[int]) -> str:
    """A colour as HTML has it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def small(text: str) -> str:
    """A line of small text as HTML; what the text holds is shown as it is."""
    return f'<div style="padding:2px 12px;font-size:12px;color:#667">{html.escape(text)}</div>'


def block(content: str) -> str:
    """HTML with the margins and the size of text that the panel has."""
    return f'<div style="padding:4px 12px;font-size:13px;line-height:1.5">{content}</div>'
