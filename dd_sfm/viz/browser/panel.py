"""The panel of controls beside the scene, a tab for each kind of thing to do."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dd_sfm.viz.browser.drawn import CAMERAS, MARKS, POINTS, SURFACE
from dd_sfm.viz.browser.frames_tab import FramesTab
from dd_sfm.viz.browser.legend import block, css, legend, small
from dd_sfm.viz.browser.measure_tab import MeasureTab
from dd_sfm.viz.render.cloud_view import mesh_path
from dd_sfm.viz.render.colours import RUN_RGB
from dd_sfm.viz.render.view_state import SURFACES, ViewState

if TYPE_CHECKING:
    from dd_sfm.viz.browser.page import Page

WIDTH_PX = 400
VIEWS = ("front", "top", "side", "oblique")
FILTER_PCT = 99.5
"""A filter's slider ends where so many of the values are below; at its end all points pass."""
CLIP_AXES = (("left to right", 0), ("top to bottom", 2), ("near to far", 4))


class Panel:
    """The controls of a page, which change its state.

    ``controls``: those of the tabs Look and Filter by what they are called.

    Args:
        page: The page.
        notes: Lines to show.
    """

    def __init__(self, page: "Page", notes: tuple[str, ...]) -> None:
        self.page, self.gui = page, page.server.gui
        self._notes = notes
        self.gui.set_panel_label("dd-sfm view")
        self.gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(30, 110, 140))
        self.gui.main_panel.dock_right()
        self.gui.main_panel.set_width(WIDTH_PX)
        self._shown = self.gui.add_html("")
        self.controls: dict[str, Any] = {}
        tabs = self.gui.add_tab_group()
        with tabs.add_tab("Look"):
            self._look_tab()
        with tabs.add_tab("Filter"):
            self._filter_tab()
        self.frames = None
        if self.state.clouds[0].images:
            with tabs.add_tab("Frames"):
                self.frames = FramesTab(page)
        with tabs.add_tab("Measure"):
            self.measure = MeasureTab(page)

    @property
    def state(self) -> ViewState:
        """What is shown."""
        return self.page.state

    def changes(self, handle: Any, change: Callable[[Any], None], *parts: str) -> None:
        """Let a control change the state by its value, and draw parts of the scene anew."""
        self.controls[handle.label] = handle

        @handle.on_update
        def _(event: Any) -> None:
            with self.page.lock:
                change(handle.value)
            self.page.ask(*parts)

    # Look

    def _look_tab(self) -> None:
        state, gui = self.state, self.gui
        colour = gui.add_dropdown("Colour", tuple(state.available_colours), initial_value=state.colour)
        self.changes(colour, self._set_colour, POINTS)
        self._legend = gui.add_html("")
        self._set_colour(state.colour)
        size = gui.add_slider("Point size", 0.25, 4.0, 0.05, float(np.clip(state.point_size, 0.25, 4.0)))
        self.changes(size, lambda value: setattr(state, "point_size", value), POINTS)
        views = gui.add_button_group("View from", VIEWS)
        views.on_click(lambda event: self.page.look_from(event.client, views.value))
        if len(state.clouds) > 1:
            self._two_runs()
        if any(mesh_path(cloud) is not None for cloud in state.clouds):
            surface = gui.add_dropdown("Surface", SURFACES, initial_value=state.surface)
            self.changes(surface, lambda value: setattr(state, "surface", value), SURFACE, POINTS)
        if state.clouds[0].images:
            self._cameras()
        save = gui.add_button("Save as one file", hint="A page that opens without a server; filters cannot be changed.")
        save.on_click(lambda event: self.page.save(event.client))
        gui.add_html(small("Drag: turn. Right drag: shift. Wheel: closer. Shift and click: pick a point."))

    def _set_colour(self, name: str) -> None:
        self.state.colour = name
        self._legend.content = legend(self.state)

    def _two_runs(self) -> None:
        state, gui = self.state, self.gui
        start = "side by side" if state.side_by_side else "overlaid"
        layout = gui.add_dropdown("Two runs", ("side by side", "overlaid"), initial_value=start)
        self.changes(
            layout, lambda value: setattr(state, "side_by_side", value == "side by side"),
            POINTS, CAMERAS, MARKS, SURFACE,
        )  # fmt: skip
        names = ["both", *(f"{k + 1}: {cloud.label}" for k, cloud in enumerate(state.clouds))]
        only = gui.add_dropdown("Show", tuple(names))
        self.changes(
            only,
            lambda value: setattr(state, "only", None if value == names[0] else names.index(value) - 1),
            POINTS, CAMERAS, SURFACE,
        )  # fmt: skip

    def _cameras(self) -> None:
        state, gui, nodes = self.state, self.gui, self.page.nodes
        cameras = gui.add_checkbox("Cameras", state.cameras)
        self.changes(cameras, lambda value: setattr(state, "cameras", value), CAMERAS)
        pictures = gui.add_checkbox("Pictures in them", state.thumbnails)
        self.changes(pictures, lambda value: setattr(state, "thumbnails", value), CAMERAS)
        if any(cloud.confidence for cloud in state.clouds):
            unsure = gui.add_checkbox("Unsure poses in red", False)
            self.changes(unsure, lambda value: setattr(nodes, "by_confidence", value), CAMERAS)

    # Filter

    def _filter_tab(self) -> None:
        state, gui = self.state, self.gui
        self._limits: list[Callable[[], None]] = []
        self._limit_slider("Error up to [px]", "error", "max_error_px", 1.0)
        self._limit_slider("Uncertainty up to [%]", "uncertainty", "max_uncertainty", 100.0)
        lengths = state.values("tracks")
        if len(lengths):
            most = max(int(np.percentile(lengths, FILTER_PCT)), 3)
            track = gui.add_slider("Views from", 0, most, 1, min(state.min_track, most))
            self.changes(track, lambda value: setattr(state, "min_track", int(value)), POINTS)
            self._limits.append(lambda: setattr(track, "value", 0))
        for label, side in CLIP_AXES:
            self._clip_slider(label, side)
        reset = gui.add_button("Show everything")
        reset.on_click(lambda event: self._reset())

    def _limit_slider(self, label: str, name: str, attribute: str, factor: float) -> None:
        values = self.state.values(name)
        if not len(values):
            return
        most = float(np.percentile(values, FILTER_PCT)) * factor
        # Round up, so that the end of the slider is beyond all values but strays.
        step = 10.0 ** np.floor(np.log10(max(most, 1e-9) / 50))
        end = float(np.ceil(most / step) * step)
        now = min(getattr(self.state, attribute) * factor, end)
        slider = self.gui.add_slider(label, 0.0, end, float(step), float(np.round(now / step) * step))
        self.changes(
            slider,
            lambda value: setattr(self.state, attribute, np.inf if value >= end - step / 2 else value / factor),
            POINTS,
        )
        self._limits.append(lambda: setattr(slider, "value", end))

    def _clip_slider(self, label: str, side: int) -> None:
        start = (float(self.state.clip[side]), 1 - float(self.state.clip[side + 1]))
        slider = self.gui.add_multi_slider(label, 0.0, 1.0, 0.01, start, min_range=0.02)

        def change(value: tuple[float, float]) -> None:
            self.state.clip[side], self.state.clip[side + 1] = value[0], 1 - value[1]

        self.changes(slider, change, POINTS)
        self._limits.append(lambda: setattr(slider, "value", (0.0, 1.0)))

    def _reset(self) -> None:
        with self.page.lock:
            for loosen in self._limits:
                loosen()
            picks, only = [*self.state.picks], self.state.only
            self.state.reset()
            self.state.picks, self.state.only = picks, only
        self.page.ask(POINTS)

    # What the page says

    def say_shown(self, *more: str) -> None:
        """Say what is shown, how many points of it, and ``more`` that is to be known."""
        state = self.state
        lines = []
        for k, cloud in enumerate(state.clouds):
            rgb = css(RUN_RGB[k]) if state.colour == "run" else "inherit"
            count = f"{int(state.visible(k).sum()):,} of {len(cloud.xyz):,} {cloud.point_word}"
            lines.append(f'<b style="color:{rgb}">{html.escape(cloud.label)}</b>: {count}')
        lines += [small(note) for note in (*more, *self._notes) if note]
        self._shown.content = block("<br>".join(lines))

    def say_problem(self, text: str) -> None:
        """Say what cannot be shown."""
        self._shown.content = block(small(text))

    def say_measured(self) -> None:
        """Say what was measured."""
        self.measure.say()

    def say_pick(self, text: str) -> None:
        """Say what a click has picked."""
        self.measure.say_pick(text)

    def say_scale(self, text: str) -> None:
        """Say which scale was set, by the text that ``--scale`` takes for it."""
        self.measure.line_scale.say_set(text)

    def show_frame(self, number: int, client: Any) -> None:
        """Go to a frame of the first cloud, and look through its camera."""
        if self.frames is not None:
            self.frames.go(number, client)
