"""Pick both edges of an instrument in the picture of a frame, for the scale by its diameter."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dd_sfm.errors import DDSfMError
from dd_sfm.registration.metric_scale import find_scale
from dd_sfm.registration.seen_scale import tool_text
from dd_sfm.structures import FloatArray
from dd_sfm.viz.browser.drawn import CAMERAS, MARKS, POINTS, SURFACE
from dd_sfm.viz.browser.legend import small
from dd_sfm.viz.browser.line_scale import command_line
from dd_sfm.viz.browser.picture_plane import PicturePlane
from dd_sfm.viz.browser.scene import PICK_RGB, wxyz_of

if TYPE_CHECKING:
    from dd_sfm.viz.browser.frames_tab import FramesTab

DEPTH_SHARE = 0.2
"""Distance of the picture from its camera as a share of the clouds' extent."""
BEFORE = 0.995
"""Marks are at this share of the distance of the picture, so as not to be covered by it."""
MARK_SHARE = 0.02, 0.006
"""Where the arms of a mark end and begin, as shares of the picture's width: what is marked stays in sight."""
JPEG_QUALITY = 92
NODE = "/picture"
HOW = "Click one edge of the shaft, where it lies on the tissue, then the opposite edge. Wheel and drag move the view."


class EdgePicker:
    """Shows the whole picture of the frame instead of the points, and takes clicks in it as pixels.

    ``plane``: the picture that is shown, None without one; ``number``: its frame; ``edges``: the pixels (2,) picked.

    Args:
        tab: The tab of frames.
    """

    def __init__(self, tab: "FramesTab") -> None:
        self.tab, self.page = tab, tab.page
        gui = self.page.server.gui
        self.switch = gui.add_checkbox(
            "Pick two edges of an instrument", False, hint="Of known diameter, for the scale; in the picture itself."
        )
        self.switch.on_update(lambda event: self._switched(event.client))
        self.diameter = gui.add_number("Diameter [mm]", 0.0, min=0.0, step=0.001, visible=False)
        self.diameter.on_update(lambda event: self.say())
        self.button = gui.add_button("Set the scale by the diameter", visible=False)
        self.button.on_click(lambda event: self.set())
        self._said = gui.add_html("")
        self.plane: PicturePlane | None = None
        self.number = 0
        self.edges: list[FloatArray] = []
        self._marks: list[Any] = []
        self._line = ""

    @property
    def is_on(self) -> bool:
        """Whether a picture is shown, and clicks are pixels of it."""
        return self.plane is not None

    def _switched(self, client: Any) -> None:
        if self.switch.value and not self.is_on:
            self.start(client)
        elif not self.switch.value:
            self.stop()

    def start(self, client: Any) -> None:
        """Show the picture of the frame of the tab to all browsers, and let one look at it; without one say so."""
        number = self.tab.number
        if self.plane is None or number != self.number:
            self._show_frame(number)
        if self.plane is not None and client is not None:
            self.page.look_at(client, self.plane)

    def _show_frame(self, number: int) -> None:
        picture = self.tab.picture(number)
        if picture is None:
            self.stop()
            self._line = f"Frame {number} has no picture: step to one that has, and switch this on again."
            self.say()
            return
        camera, pose = self.tab.camera_of(number)
        with self.page.lock:
            self.plane, self.number = PicturePlane(camera, pose, DEPTH_SHARE * self.page.drawn.extent), number
            self.page.nodes.is_hidden = self.page.nodes.is_inside = True
            self._forget()
            self.page.server.scene.add_image(
                f"{NODE}/frame", picture, *self.plane.size, format="jpeg", jpeg_quality=JPEG_QUALITY,
                cast_shadow=False, receive_shadow=False, wxyz=wxyz_of(pose), position=self.plane.centre,
            )  # fmt: skip
        self._changed()

    def stop(self) -> None:
        """Show the points again."""
        with self.page.lock:
            was_on, self.plane = self.is_on, None
            self._forget()
            self.page.server.scene.remove_by_name(NODE)
            self.page.nodes.is_hidden = False
            self.switch.value = False
        if was_on:
            self._changed()

    def _changed(self) -> None:
        self.page.panel.measure.listen()
        self.diameter.visible = self.button.visible = self.is_on
        self.say()
        self.page.ask(POINTS, SURFACE, CAMERAS, MARKS)

    def _forget(self) -> None:
        """Forget the picked edges."""
        self.edges, self._line = [], ""
        self._mark()

    def pick(self, origin: FloatArray, direction: FloatArray) -> None:
        """Take the pixel that a ray (3,) from a place (3,) meets as an edge; a third one begins anew."""
        with self.page.lock:
            if self.plane is None:
                return
            found = self.plane.pixel(origin, direction)
            if found is None:
                self._line = "This is outside of the picture."
            else:
                self.edges = [*(self.edges if len(self.edges) < 2 else []), found]
                self._line = ""
                self._mark()
        self.say()

    def _mark(self) -> None:
        """Draw a cross at each picked edge, and a line between both."""
        for node in self._marks:
            node.remove()
        self._marks = []
        if self.plane is None or not self.edges:
            return
        end, begin = (share * self.plane.camera.width for share in MARK_SHARE)
        arms = np.array([[[s * end, 0], [s * begin, 0]] for s in (-1, 1)])
        cross = np.concatenate([arms, arms[..., ::-1]])
        lines = [cross + edge for edge in self.edges]
        if len(self.edges) == 2:
            lines.append(np.array([self.edges]))
        pixels = np.concatenate(lines)
        ends = self.plane.places(pixels.reshape(-1, 2), BEFORE).reshape(-1, 2, 3).astype(np.float32)
        node = self.page.server.scene.add_line_segments(
            f"{NODE}/edges", ends, PICK_RGB, thickness=2.0, thickness_units="screen"
        )
        self._marks = [node]

    def text(self) -> str:
        """What ``--scale`` takes for the picked edges.

        Raises:
            ConfigError: If there are not two edges yet, or no diameter.
        """
        return tool_text(self.number, self.edges, float(self.diameter.value))

    def say(self) -> None:
        """Say which pixels were picked, and what ``--scale`` takes for them."""
        if not self.is_on:
            self._said.content = small(self._line) if self._line else ""
            return
        words = [f"edge {k + 1} at pixel {x:.1f}, {y:.1f}" for k, (x, y) in enumerate(self.edges)]
        lines = [", ".join(words) if words else HOW]
        if len(self.edges) == 2:
            lines[0] += f": {np.linalg.norm(self.edges[1] - self.edges[0]):.1f} pixels apart"
        if self._line:
            lines.append(self._line)
        command = ""
        if len(self.edges) == 2 and self.diameter.value > 0:
            command = command_line(self.text())
        elif len(self.edges) == 2 and not self._line:
            lines.append("Enter the diameter.")
        self._said.content = "".join(map(small, lines)) + command

    def set(self) -> None:
        """Set the page's scale as ``--scale`` finds it by the picked edges, or say why it is refused."""
        try:
            text = self.text()
            self._line = "Finding the scale ..."
            self.say()
            found = find_scale(text, self.page.scene)
        except DDSfMError as error:
            self._line = str(error)
        else:
            self._line = "; ".join(found.notes)
            self.page.set_scale(found, text)
        self.say()
