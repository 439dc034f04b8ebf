"""The tab of the page for picking points and measuring between them."""

import html
from typing import TYPE_CHECKING, Any

from dd_sfm.viz.browser.drawn import MARKS
from dd_sfm.viz.browser.legend import small
from dd_sfm.viz.browser.line_scale import LineScale
from dd_sfm.viz.render.measure import KINDS, MIN_POINTS

if TYPE_CHECKING:
    from dd_sfm.viz.browser.page import Page

NO_UNCERTAINTY = "The points have no uncertainty of their own: no ± is known."
MEANING = (
    "±: half of such measurements are wrong by less, if points err independently. Of near points, which err alike, it "
    "says too much."
)
PICTURE_SHOWN = "A picture is shown, to pick the edges of an instrument: switch that off in Frames to measure."
BY_THIS = "The scale was set by this length."
UNIT_BY_LINE = "In mm: enter the true length of this line below, or open the page with --scale."
UNIT_BY_OTHER = (
    "In mm: measure a distance of known length and enter it, pick the edges of an instrument in Frames, or open the "
    "page with --scale."
)


class MeasureTab:
    """Picks points by clicks, and says what lies between them.

    Args:
        page: The page.
    """

    def __init__(self, page: "Page") -> None:
        self.page = page
        gui, state = page.server.gui, page.state
        self.kind = gui.add_dropdown("Measure", KINDS, initial_value=state.kind)
        self.kind.on_update(lambda event: self._set_kind(self.kind.value))
        self._by_click = gui.add_checkbox("Pick by clicking", False, hint="Shift and click picks at any time.")
        self._by_click.on_update(lambda event: self.listen())
        self._result, self._said = gui.add_html(""), gui.add_html("")
        undo, clear = gui.add_button("Take back the last point"), gui.add_button("Clear")
        undo.on_click(lambda event: self._take_back(1))
        clear.on_click(lambda event: self._take_back(len(state.picks)))
        self.line_scale = LineScale(page)
        page.server.scene.on_click(modifier="shift")(self._pick)
        self.say()

    @property
    def takes_clicks(self) -> bool:
        """Whether a click without Shift picks a point."""
        return bool(self._by_click.value)

    def listen(self) -> None:
        """Take clicks with Shift, and those without where that was asked for or a picture is picked in."""
        frames, scene = self.page.panel.frames, self.page.server.scene
        scene.remove_click_callback("all")
        scene.on_click(modifier="shift")(self._pick)
        if self._by_click.value or (frames is not None and frames.edges.is_on):
            scene.on_click()(self._pick)

    def _pick(self, event: Any) -> None:
        self.page.pick(event.client, event.ray_origin, event.ray_direction)

    def _set_kind(self, kind: str) -> None:
        with self.page.lock:
            self.page.state.kind = kind
            self.page.state.picks.clear()
        self.page.ask(MARKS)

    def _take_back(self, count: int) -> None:
        with self.page.lock:
            del self.page.state.picks[len(self.page.state.picks) - count :]
        self.page.ask(MARKS)

    def say(self) -> None:
        """Say what was measured, or how many points it needs."""
        state = self.page.state
        found = state.measured()
        self.line_scale.show()
        if self.page.nodes.is_hidden:
            self._result.content = small(PICTURE_SHOWN)
            return
        if found is None:
            need = MIN_POINTS[state.kind] - len(state.picks)
            text = f"Pick {need} {'more ' if state.picks else ''}point{'s' if need > 1 else ''}."
            self._result.content = f'<div id="measured" style="padding:4px 12px;font-size:14px">{text}</div>'
            return
        lines = [f"<b>{state.kind}: {html.escape(state.length_text(found))}</b>"]
        if state.kind != "distance":
            lines.append(f"{len(state.picks)} points")
        has_error = found.error == found.error
        meaning = BY_THIS if state.is_known_length else MEANING if has_error else NO_UNCERTAINTY
        lines.append(f'<span style="font-size:12px;color:#667">{meaning}')
        if state.mm_per_unit is None:
            lines[-1] += " " + (UNIT_BY_LINE if state.kind == "distance" else UNIT_BY_OTHER)
        lines[-1] += "</span>"
        content = "<br>".join(lines)
        self._result.content = f'<div id="measured" style="padding:4px 12px;font-size:14px">{content}</div>'

    def say_pick(self, text: str) -> None:
        """Say what a click has picked."""
        self._said.content = f'<div style="padding:2px 12px;font-size:12px;color:#667">{html.escape(text)}</div>'
