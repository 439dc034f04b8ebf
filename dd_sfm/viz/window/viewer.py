"""The viewer's window. All that it shows is in :class:`ViewState`; here it is handed to Open3D."""

import math
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
from dd_sfm.viz.render.labels import PAPER
from dd_sfm.viz.render.orbit import Orbit, orbit_of, point_at
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.render.viewpoints import Viewpoint, find_viewpoint
from dd_sfm.viz.window.keys import CAMERAS, KEYS, POINTS, SIZE, VIEW, VIEW_KEYS, Key, help_text
from dd_sfm.viz.window.shapes import Shapes
from dd_sfm.viz.window.state import ViewState

SHIFT, CTRL = 1, 2
LEFT = 0
CLICK_PX = 3.0
FLUID_S = 0.08
"""Longest time to draw the points while the mouse moves."""
POINT_PX = (1.5, 5.0)
"""Diameter of the usual points: by their spacing in the first view, within these bounds."""
# Tried in a process of its own: a missing library may end it, and without a display Open3D draws into nowhere.
PROBE = """
import open3d
window = open3d.visualization.Visualizer()
made = window.create_window(width=64, height=64, visible=False)
print("" if made else "No display")
"""


def check_display() -> None:
    """See that a window can be opened.

    Raises:
        DeviceError: If there is no display. (That Open3D can be imported is for the caller to know.)
    """
    tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    if tried.returncode or "No display" in tried.stdout:
        raise DeviceError(
            "view: no display found to open a window on; expected one (DISPLAY or WAYLAND_DISPLAY). Render a picture "
            "instead: --screenshot FILE.png"
        )


def open_window(state: ViewState, view: str, width: int, height: int, say: Callable[[str], None]) -> None:
    """Open the window, and return when it is closed.

    Raises:
        UsageError: If ``view`` is unknown.
        InputError: If its frame has no pose.
        DeviceError: If no window can be opened.
    """
    window = Window(state, view, width, height, say)
    say(help_text())
    say(f"shown: {state.counts()} {state.parts}")
    window.run()


class Window:
    """Open3D's window with our state, keys and mouse.

    Args:
        state: What to show.
        view: Where from at first: front, top, side, oblique or camera:N.
        width: Of the window, in pixels.
        height: The same.
        say: Prints a line.
    """

    def __init__(self, state: ViewState, view: str, width: int, height: int, say: Callable[[str], None]) -> None:
        import open3d

        self.o3d: Any = open3d
        self.state, self.say, self.view = state, say, view
        self.orbit = self._start(view, width, height)
        spacing_px = median_spacing(state.clouds[0].xyz) * self.orbit.camera.fx / self.orbit.distance
        self._point_px = float(np.clip(0.7 * spacing_px, *POINT_PX))
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self.visualizer: Any = open3d.visualization.VisualizerWithKeyCallback()
        if not self.visualizer.create_window("dd-sfm view", width, height):
            raise DeviceError(
                "view: no window can be opened; expected a display. Render instead: --screenshot FILE.png"
            )
        options = self.visualizer.get_render_option()
        options.light_on, options.mesh_show_back_face = False, True
        options.background_color = np.array(PAPER) / 255
        self.shapes, self.seconds_per_point, self._every = Shapes(state), 0.0, 1
        self._pointer, self._pressed, self._button, self._mods = (0.0, 0.0), (0.0, 0.0), -1, 0
        for geometry in self.shapes.all:
            self.visualizer.add_geometry(geometry)
        self._register()
        self._set_size()
        self._look()

    def run(self) -> None:
        """Show the window until it is closed."""
        self.seconds_per_point = self._draw_seconds() / max(self.shapes.points, 1)
        self.visualizer.run()
        self.visualizer.destroy_window()

    def _draw_seconds(self) -> float:
        """The shorter of two: the first also moves the points to the graphics card."""
        times = []
        for _ in range(2):
            start = time.perf_counter()
            self.visualizer.poll_events()
            self.visualizer.update_renderer()
            times.append(time.perf_counter() - start)
        return min(times)

    def capture(self) -> FloatArray:
        """What the window shows (H, W, 3) uint8."""
        self.visualizer.poll_events()
        self.visualizer.update_renderer()
        shown = np.asarray(self.visualizer.capture_screen_float_buffer(do_render=True))
        return np.round(shown * 255).astype(np.uint8)

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
        """Do what a key does; ``step`` is -1 with Shift."""
        self.say(key.change(self.state, step))
        stale = self.shapes.fill_points() if POINTS in key.stale else []
        stale += self.shapes.fill_cameras() if CAMERAS in key.stale else []
        for geometry in stale:
            self.visualizer.update_geometry(geometry)
        if SIZE in key.stale:
            self._set_size()
        if VIEW in key.stale:
            self._change_view()

    def look_from(self, name: str, step: int = 1) -> None:
        """Go to a view by name, no longer through a camera."""
        self.view = name
        self.press(Key("", "", lambda s, d: self._free(name), (VIEW, CAMERAS)))

    def _free(self, name: str) -> str:
        self.state.camera = None
        return f"view: {name}"

    def write_picture(self) -> None:
        """Write what the window shows to view-NNN.png in the working folder, a new file each time."""
        number = next(n for n in range(1, 10_000) if not Path(f"view-{n:03d}.png").exists())
        path = Path(f"view-{number:03d}.png")
        write_image(path, self.capture())
        self.say(f"written: {path}")

    # Mouse

    def button(self, button: int, action: int, mods: int) -> bool:
        """A mouse button went down (action 1) or up (0); while one is held, the others do nothing."""
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
        """Where drawing is slow, as without a graphics card, show only as many points while moving as stay fluid."""
        if moving:
            self._every = math.ceil(self.shapes.points * self.seconds_per_point / FLUID_S)
        if self._every > 1:
            for geometry in self.shapes.fill_points(self._every if moving else 1):
                self.visualizer.update_geometry(geometry)

    def move(self, x: float, y: float) -> bool:
        """The pointer moved to a pixel."""
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
        """The wheel turned."""
        self.orbit = self.orbit.zoomed(steps)
        self._look()
        return False

    def pick(self, x: float, y: float) -> None:
        """Pick the nearest visible point at a pixel, and say where it is or how far from the one before."""
        best: tuple[float, int, int] | None = None
        viewpoint = self.orbit.viewpoint
        for k, cloud in enumerate(self.state.clouds):
            visible = np.flatnonzero(self.state.visible(k))
            places = project(cloud.xyz[visible] + self.state.offset(k), viewpoint.camera, viewpoint.cam_from_world)
            found = point_at(places, x, y)
            if found is not None and (best is None or places.depth[found] < best[0]):
                best = float(places.depth[found]), k, int(visible[found])
        if best is None:
            self.say("no point here")
            return
        self.say(self.state.pick(best[1], best[2]))
        self.visualizer.update_geometry(self.shapes.fill_marks())

    # Views

    def _start(self, view: str, width: int, height: int) -> Orbit:
        first = self.state.clouds[0]
        if view.startswith("camera:"):
            viewpoint = find_viewpoint(view, first, first.xyz, width, height)
            self.state.camera = first.numbers.index(int(view.removeprefix("camera:")))
            return orbit_of(viewpoint, first.xyz)
        points = np.concatenate([c.xyz + self.state.offset(k) for k, c in enumerate(self.state.clouds)])
        return orbit_of(find_viewpoint(view, first, points, width, height), points)

    def _change_view(self) -> None:
        self._fit_window()
        width, height = self.orbit.camera.width, self.orbit.camera.height
        if self.state.camera is None:
            view = "front" if self.view.startswith("camera:") else self.view
            self.orbit = self._start(view, width, height)
        else:
            first, k = self.state.clouds[0], self.state.camera
            camera = first.images[k].camera.fitted((width, height))
            self.orbit = orbit_of(Viewpoint(camera, first.cam_from_world[k]), first.xyz)
        self._look()

    def _fit_window(self) -> None:
        """Follow a window that was made larger or smaller."""
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
