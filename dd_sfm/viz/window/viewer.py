"""The viewer's window, drawn by Open3D; what it shows is in :class:`ViewState`."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.errors import DeviceError
from dd_sfm.io.images import write_image
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.cloud_view import median_spacing
from dd_sfm.viz.render.labels import BACKGROUND_RGB
from dd_sfm.viz.render.orbit import Orbit, orbit_from_viewpoint, point_at
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.render.view_state import ViewState
from dd_sfm.viz.render.viewpoints import Viewpoint, camera_index, find_viewpoint, parse_camera_view
from dd_sfm.viz.window.keys import CAMERAS, KEYS, POINTS, SIZE, VIEW, VIEW_KEYS, Key, help_text
from dd_sfm.viz.window.shapes import Shapes

SHIFT, CTRL = 1, 2
LEFT = 0
CLICK_PX = 3.0
"""A press of a button that moves the mouse by no more than this is a click."""
MAX_DRAW_S = 0.08
"""Longest time to draw the points while the mouse moves."""
POINT_SIZE_RANGE_PX = (1.5, 5.0)
"""Smallest and largest default diameter of the points, which is chosen by their spacing in the first view."""
# Run in a separate process: a missing library may end it, and without a display Open3D fails silently.
PROBE_S, PAUSE_S = 60.0, 0.005
"""Seconds that opening a window may take, and between two pictures of it."""
PROBE = """
import open3d, sys
sys.exit(not open3d.visualization.Visualizer().create_window(width=64, height=64, visible=False))
"""


def check_display() -> None:
    """Check that a window can be opened, by an Open3D that can be imported.

    Raises:
        DeviceError: If there is no display.
    """
    if lacks_display() or not _opens_window():
        raise DeviceError(
            "view: no display to open a window on; expected one (DISPLAY or WAYLAND_DISPLAY). Render a picture "
            "instead: --screenshot FILE.png"
        )


def lacks_display() -> bool:
    """Whether this machine or session has no display: Open3D then opens windows that nobody sees."""
    return sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _opens_window() -> bool:
    try:
        tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return False
    return tried.returncode == 0


def open_window(state: ViewState, view: str, width: int, height: int, say: Callable[[str], None]) -> None:
    """Open the window, and return when it is closed.

    Raises:
        UsageError: If ``view`` is unknown.
        InputError: If its frame has no pose.
        DeviceError: If no window can be opened.
    """
    window = Window(state, view, width, height, say)
    say(help_text())
    say(f"shown: {state.counts()} {state.point_words}")
    window.run()


class Window:
    """An Open3D window that shows a state, with its own keys and mouse.

    Args:
        state: What to show.
        view: The first view: front, top, side, oblique or camera:N.
        width: Width of the window in pixels.
        height: Height of the window in pixels.
        say: Prints a line.
    """

    def __init__(self, state: ViewState, view: str, width: int, height: int, say: Callable[[str], None]) -> None:
        import open3d

        self.o3d: Any = open3d
        self.state, self.say, self.view = state, say, view
        self.orbit = self._start(view, width, height)
        spacing_px = median_spacing(state.clouds[0].xyz) * self.orbit.camera.fx / self.orbit.distance
        self._point_px = float(np.clip(0.7 * spacing_px, *POINT_SIZE_RANGE_PX))
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self.visualizer: Any = open3d.visualization.VisualizerWithKeyCallback()
        if not self.visualizer.create_window("dd-sfm view", width, height):
            raise DeviceError(
                "view: no window can be opened; expected a display. Render instead: --screenshot FILE.png"
            )
        options = self.visualizer.get_render_option()
        options.light_on, options.mesh_show_back_face = False, True
        options.background_color = np.array(BACKGROUND_RGB) / 255
        self.shapes, self.seconds_per_point, self._every = Shapes(state), 0.0, 1
        self._pointer, self._pressed, self._button, self._mods = (0.0, 0.0), (0.0, 0.0), -1, 0
        for geometry in self.shapes.all:
            self.visualizer.add_geometry(geometry)
        self._register()
        self._set_size()
        self._look()

    def run(self) -> None:
        """Show the window until it is closed."""
        self.seconds_per_point = self._draw_seconds() / max(self.shapes.point_count, 1)
        # Not Open3D's own loop, in which neither Ctrl-C nor SIGTERM reaches Python.
        while self.visualizer.poll_events():
            self.visualizer.update_renderer()
            time.sleep(PAUSE_S)
        self.visualizer.destroy_window()

    def _draw_seconds(self) -> float:
        """Time to draw the window: the shorter of two, as the first also moves the points to the graphics card."""
        times = []
        for _ in range(2):
            start = time.perf_counter()
            self.visualizer.poll_events()
            self.visualizer.update_renderer()
            times.append(time.perf_counter() - start)
        return min(times)

    def capture(self) -> FloatArray:
        """The picture in the window (H, W, 3) uint8."""
        self.visualizer.poll_events()
        self.visualizer.update_renderer()
        picture = np.asarray(self.visualizer.capture_screen_float_buffer(do_render=True))
        return np.round(picture * 255).astype(np.uint8)

    # Keys

    def _register(self) -> None:
        for key in KEYS:
            self._on(key.letter, partial(self.press, key))
        for letter, name in VIEW_KEYS.items():
            self._on(letter, partial(self.look_from, name))
        self._on("H", lambda step: self.say(help_text()))
        self._on("P", lambda step: self.write_picture())
        self.visualizer.register_mouse_button_callback(
            lambda _, button, action, mods: self.button(button, action, mods)
        )
        self.visualizer.register_mouse_move_callback(lambda _, x, y: self.move(x, y))
        self.visualizer.register_mouse_scroll_callback(lambda _, x, y: self.scroll(y))

    def _on(self, letter: str, call: Callable[[int], None]) -> None:
        def pressed(_: Any, action: int, mods: int) -> bool:
            # 1 is a press, 2 its repetition while held, 0 the release.
            if action:
                call(-1 if mods & SHIFT else 1)
            return False

        self.visualizer.register_key_action_callback(ord(letter), pressed)

    def press(self, key: Key, step: int = 1) -> None:
        """Do what a key does and redraw; ``step`` is -1 with Shift."""
        self.say(key.change(self.state, step))
        changed = self.shapes.update_points() if POINTS in key.redraw else []
        changed += self.shapes.update_cameras() if CAMERAS in key.redraw else []
        for geometry in changed:
            self.visualizer.update_geometry(geometry)
        if SIZE in key.redraw:
            self._set_size()
        if VIEW in key.redraw:
            self._change_view()

    def look_from(self, name: str, step: int = 1) -> None:
        """Go to a named view, and no longer look through a camera."""
        self.view = name
        self.press(Key("", "", lambda s, d: self._leave_camera(name), (VIEW, CAMERAS)))

    def _leave_camera(self, name: str) -> str:
        self.state.camera = None
        return f"view: {name}"

    def write_picture(self) -> None:
        """Write the picture in the window to a new file view-NNN.png in the working folder."""
        number = next(n for n in range(1, 10_000) if not Path(f"view-{n:03d}.png").exists())
        path = Path(f"view-{number:03d}.png")
        write_image(path, self.capture())
        self.say(f"written: {path}")

    # Mouse

    def button(self, button: int, action: int, mods: int) -> bool:
        """A mouse button was pressed (action 1) or released (0); while one is held, the others do nothing."""
        if action and self._button < 0:
            self._button, self._mods, self._pressed = button, mods, self._pointer
            self._thin(True)
        elif not action and button == self._button:
            self._thin(False)
            moved = np.hypot(self._pointer[0] - self._pressed[0], self._pointer[1] - self._pressed[1])
            if self._button == LEFT and self._mods & SHIFT and moved <= CLICK_PX:
                self.pick(*self._pointer)
            self._button = -1
        return False

    def _thin(self, moving: bool) -> None:
        """Draw only some points while the mouse moves where drawing all is slow, as without a graphics card."""
        if moving:
            self._every = math.ceil(self.shapes.point_count * self.seconds_per_point / MAX_DRAW_S)
        if self._every > 1:
            for geometry in self.shapes.update_points(self._every if moving else 1):
                self.visualizer.update_geometry(geometry)

    def move(self, x: float, y: float) -> bool:
        """The mouse pointer moved to a pixel."""
        dx, dy = x - self._pointer[0], y - self._pointer[1]
        self._pointer = (x, y)
        if self._button < 0:
            return False
        if self._button != LEFT or self._mods & CTRL:
            self.orbit = self.orbit.shifted(dx, dy)
        elif self._mods & SHIFT:
            self.orbit = self.orbit.rolled(dx)
        else:
            self.orbit = self.orbit.turned(dx, dy)
        self._look()
        return False

    def scroll(self, steps: float) -> bool:
        """The mouse wheel turned."""
        self.orbit = self.orbit.zoomed(steps)
        self._look()
        return False

    def pick(self, x: float, y: float) -> None:
        """Pick the nearest visible point at a pixel, and print its position and its distance from the one before."""
        best: tuple[float, int, int] | None = None
        viewpoint = self.orbit.viewpoint
        for k, cloud in enumerate(self.state.clouds):
            visible = np.flatnonzero(self.state.visible(k))
            projected = project(cloud.xyz[visible] + self.state.offset(k), viewpoint.camera, viewpoint.cam_from_world)
            found = point_at(projected, x, y)
            if found is not None and (best is None or projected.depth[found] < best[0]):
                best = float(projected.depth[found]), k, int(visible[found])
        if best is None:
            self.say("no point here")
            return
        self.say(self.state.pick(best[1], best[2]))
        self.visualizer.update_geometry(self.shapes.update_marks())

    # Views

    def _start(self, view: str, width: int, height: int) -> Orbit:
        first = self.state.clouds[0]
        number = parse_camera_view(view)
        if number is not None:
            viewpoint = find_viewpoint(view, first, first.xyz, width, height)
            # A frame between key frames is none of the cameras that N goes through.
            is_key = number in first.frame_numbers
            self.state.camera = camera_index(first, number) if is_key else None
            return orbit_from_viewpoint(viewpoint, first.xyz)
        points = np.concatenate([c.xyz + self.state.offset(k) for k, c in enumerate(self.state.clouds)])
        return orbit_from_viewpoint(find_viewpoint(view, first, points, width, height), points)

    def _change_view(self) -> None:
        self._fit_window()
        width, height = self.orbit.camera.width, self.orbit.camera.height
        if self.state.camera is None:
            view = self.view if parse_camera_view(self.view) is None else "front"
            self.orbit = self._start(view, width, height)
        else:
            first, k = self.state.clouds[0], self.state.camera
            camera = first.images[k].camera.fitted((width, height))
            self.orbit = orbit_from_viewpoint(Viewpoint(camera, first.cam_from_world[k]), first.xyz)
        self._look()

    def _fit_window(self) -> None:
        """Adapt the orbit to a window that was resized."""
        now = self.visualizer.get_view_control().convert_to_pinhole_camera_parameters().intrinsic
        if (now.width, now.height) != (self.orbit.camera.width, self.orbit.camera.height):
            self.orbit = self.orbit.resized(now.width, now.height)

    def _look(self) -> None:
        self._fit_window()
        viewpoint = self.orbit.viewpoint
        camera, pose = viewpoint.camera, np.eye(4)
        pose[:3] = viewpoint.cam_from_world
        parameters = self.o3d.camera.PinholeCameraParameters()
        parameters.extrinsic = pose
        parameters.intrinsic = self.o3d.camera.PinholeCameraIntrinsic(
            camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy
        )
        self.visualizer.get_view_control().convert_from_pinhole_camera_parameters(parameters, allow_arbitrary=True)

    def _set_size(self) -> None:
        self.visualizer.get_render_option().point_size = self._point_px * self.state.point_size
