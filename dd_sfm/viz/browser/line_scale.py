"""The scale of the page by a picked line whose true length is known."""

import html
from typing import TYPE_CHECKING

from dd_sfm.errors import DDSfMError
from dd_sfm.registration.metric_scale import distance_text, find_scale
from dd_sfm.viz.browser.legend import small

if TYPE_CHECKING:
    from dd_sfm.viz.browser.page import Page

OTHER_RUN = "Pick both points on the first run: the scale is that of its coordinates."


class LineScale:
    """A field for the true length of the measured line, a button that sets the scale by it, and what it says.

    Args:
        page: The page.
    """

    def __init__(self, page: "Page") -> None:
        self.page = page
        gui = page.server.gui
        self.length = gui.add_number(
            "True length [mm]", 0.0, min=0.0, step=0.001, hint="Of the line between the two picked points.",
            visible=False,
        )  # fmt: skip
        self.button = gui.add_button("Set the scale by it", visible=False)
        self.button.on_click(lambda event: self.set())
        self._said = gui.add_html("")
        self._text, self._problem, self._notes = "", "", ""

    def show(self) -> None:
        """Show the field where a distance is measured, and say which scale the page has."""
        state = self.page.state
        is_line = state.kind == "distance" and state.measured() is not None
        self.length.visible = self.button.visible = is_line
        said = [small(text) for text in (self._problem, self._notes) if text and is_line]
        if state.mm_per_unit is not None:
            said.append(small(f"Scale: a unit of the reconstruction is {state.mm_per_unit:.6g} mm."))
        self._said.content = "".join(said) + command_line(self._text)

    def set(self) -> None:
        """Set the page's scale by the length that was entered, or say why it cannot be."""
        self._problem = self._notes = ""
        try:
            self._set()
        except DDSfMError as error:
            self._problem = str(error)
        with self.page.lock:
            self.show()

    def _set(self) -> None:
        state = self.page.state
        with self.page.lock:
            picks, kind = [*state.picks], state.kind
        if len(picks) != 2 or kind != "distance":
            return
        if any(k != 0 for k, _ in picks):
            self._problem = OTHER_RUN
            return
        first, second = (state.clouds[0].xyz[i] for _, i in picks)
        text = distance_text(float(self.length.value), first, second)
        found = find_scale(text, self.page.scene, state.clouds[0].source)
        self._notes = "; ".join(found.notes)
        self.page.set_scale(found, text, picks)

    def say_set(self, text: str) -> None:
        """Say which scale was set, by the text that ``--scale`` takes for it."""
        self._text = text
        self.show()


def command_line(text: str) -> str:
    """HTML with the option that sets a scale in other commands, to be copied; empty without one."""
    if not text:
        return ""
    style = "user-select:all;word-break:break-all;font-size:12px"
    return (
        f'{small("The same for other commands:")}<div style="padding:0 12px"><code class="scale" style="{style}">'
        f"--scale {html.escape(text)}</code></div>"
    )
