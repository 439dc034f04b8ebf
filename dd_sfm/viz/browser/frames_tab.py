"""The tab of the page for stepping through frames: the picture beside what the model sees from there, or its depth."""

import html
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image
from dd_sfm.structures import FloatArray
from dd_sfm.viz.browser.drawn import FRAME, UNSURE, shown_frames, unsure_frames
from dd_sfm.viz.browser.edges import EdgePicker
from dd_sfm.viz.browser.legend import scale_bar
from dd_sfm.viz.render.depth_view import DEPTH_PICTURES, DepthView
from dd_sfm.viz.render.screenshot import draw_through_camera, size_through_camera
from dd_sfm.viz.render.viewpoints import camera_index, find_viewpoint

if TYPE_CHECKING:
    from dd_sfm.viz.browser.page import Page

WIDTH_PX = 380
MAX_LISTED = 12
POINTS, SEEN = "points", "what the model sees from there"


class FramesTab:
    """Steps through the frames of the first cloud.

    Args:
        page: The page.
    """

    def __init__(self, page: "Page") -> None:
        self.page, self.cloud = page, page.state.clouds[0]
        self.numbers = shown_frames(self.cloud)
        gui = page.server.gui
        self._slider = gui.add_slider("Place", 1, max(len(self.numbers), 2), 1, 1)
        self._slider.on_update(lambda event: self._show(event.client))
        step = gui.add_button_group("Step", ("back", "on"))
        step.on_click(lambda event: self._step(1 if step.value == "on" else -1, event.client))
        self._through = gui.add_checkbox("Look through it", True)
        back = gui.add_button("Back to the whole")
        back.on_click(lambda event: page.look_from(event.client, "front"))
        self.edges = EdgePicker(self)
        self._text = gui.add_html("")
        self._picture = gui.add_image(_blank(), label="picture", format="jpeg")
        self._depth = DepthView(page.scene)
        self._kind = gui.add_dropdown("Beside it", (POINTS, *self._depth_pictures()))
        self._kind.on_update(lambda event: self._redraw())
        self._model = gui.add_image(_blank(), label=SEEN, format="jpeg")
        self._legend = gui.add_html("")
        self._prepared: tuple[str, NDArray[np.uint8] | None, NDArray[np.uint8], str, str] = "", None, _blank(), "", SEEN
        self._list_unsure()

    def _redraw(self) -> None:
        """Draw another picture of the same frame; what is at first slow says so."""
        if self._kind.value != POINTS:
            self._legend.content = _line("drawing ...")
        self.page.ask(FRAME)

    def _depth_pictures(self) -> list[str]:
        """Which depth maps there are: one of errors only where the points have some."""
        has_errors = bool(np.isfinite(self.cloud.uncertainty).any())
        return [name for name in DEPTH_PICTURES if has_errors or name == "depth"]

    def _list_unsure(self) -> None:
        unsure, gui = unsure_frames(self.cloud), self.page.server.gui
        if not self.cloud.confidence:
            return
        if not unsure:
            gui.add_html(_line(f"No pose has a confidence below {UNSURE}."))
            return
        more = f" and {len(unsure) - MAX_LISTED} more" if len(unsure) > MAX_LISTED else ""
        listed = ", ".join(map(str, unsure[:MAX_LISTED]))
        gui.add_html(_line(f"Unsure poses (confidence below {UNSURE}): frames {listed}{more}."))
        button = gui.add_button("Next unsure frame")
        button.on_click(lambda event: self._next_unsure(unsure, event.client))

    @property
    def number(self) -> int:
        """The frame that is shown."""
        return self.numbers[min(int(self._slider.value), len(self.numbers)) - 1]

    def go(self, number: int, client: Any) -> None:
        """Show a frame by its number; nothing when it has no pose."""
        if number not in self.numbers:
            return
        self._slider.value = self.numbers.index(number) + 1
        self._show(client)

    def _step(self, by: int, client: Any) -> None:
        place = (int(self._slider.value) - 1 + by) % len(self.numbers)
        self.go(self.numbers[place], client)

    def _next_unsure(self, unsure: list[int], client: Any) -> None:
        later = [n for n in sorted(unsure) if n > self.number]
        self.go(later[0] if later else min(unsure), client)

    def _show(self, client: Any) -> None:
        self.page.ask(FRAME)
        if self.edges.is_on:
            self.edges.start(client)
        elif client is not None and self._through.value:
            self.page.look_from(client, f"camera:{self.number}")

    def prepare(self) -> None:
        """Make what belongs to the frame that is shown, without changing the page."""
        number, kind = self.number, self._kind.value
        label = SEEN if kind == POINTS else kind
        self._prepared = _line(self._words(number)), self._photo(number), *self._of_model(number, kind), label

    def prepare_problem(self, text: str) -> None:
        """Make a line that says what cannot be drawn."""
        number = self.number
        self._prepared = _line(self._words(number)), self._photo(number), _blank(), _line(text), SEEN

    def draw(self) -> None:
        """Show what was made last."""
        self._text.content, picture, self._model.image, self._legend.content, self._model.label = self._prepared
        self._picture.visible = picture is not None
        if picture is not None:
            self._picture.image = picture

    def _of_model(self, number: int, kind: str) -> tuple[NDArray[np.uint8], str]:
        """What the model knows of a frame as a picture, and its colour scale as HTML, "" without one."""
        draw = DEPTH_PICTURES.get(kind)
        if draw is None:
            return draw_through_camera(self.page.state, number, WIDTH_PX), ""
        size = size_through_camera(self.cloud, number, WIDTH_PX)
        viewpoint = find_viewpoint(f"camera:{number}", self.cloud, self.cloud.xyz, *size)
        self._depth.mm_per_unit = self.page.state.mm_per_unit
        picture, scale = draw(self._depth, viewpoint)
        return picture, scale_bar(scale)

    def _words(self, number: int) -> str:
        words = [f"frame {number} ({self.numbers.index(number) + 1} of {len(self.numbers)})"]
        image = next((image for image in self.cloud.images if image.number == number), None)
        if image is None:
            words.append("between key frames")
        elif image.time_s is not None:
            words.append(f"{image.time_s:.2f} s")
        if image is not None and image.source:
            words.append(f"of {image.source}")
        if number in self.cloud.confidence:
            value = self.cloud.confidence[number]
            words.append(f"pose confidence {value:.2f}" + (" (unsure)" if value < UNSURE else ""))
        return ", ".join(words)

    def picture(self, number: int) -> NDArray[np.uint8] | None:
        """The picture (H, W, 3) of a frame; None where there is none, as between key frames."""
        image = next((image for image in self.cloud.images if image.number == number), None)
        if image is None or image.path is None:
            return None
        try:
            return read_image(image.path)
        except InputError:
            return None

    def camera_of(self, number: int) -> tuple[PinholeCamera, FloatArray]:
        """The camera of a frame with a picture, and its pose cam_from_world (3, 4)."""
        index = camera_index(self.cloud, number)
        return self.cloud.images[index].camera, self.cloud.cam_from_world[index]

    def _photo(self, number: int) -> NDArray[np.uint8] | None:
        picture = self.picture(number)
        if picture is None:
            return None
        size = (WIDTH_PX, max(2, round(WIDTH_PX * picture.shape[0] / picture.shape[1])))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _blank() -> NDArray[np.uint8]:
    return np.full((2, 2, 3), 250, np.uint8)


def _line(text: str) -> str:
    return f'<div style="padding:2px 12px;font-size:13px">{html.escape(text)}</div>'
