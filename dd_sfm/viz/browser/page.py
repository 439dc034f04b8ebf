"""The page: its scene, its panel of controls, and the thread that redraws what they change."""

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.scene import Scene, open_scene
from dd_sfm.structures import FloatArray
from dd_sfm.viz.browser.drawn import CAMERAS, FRAME, MARKS, POINTS, SURFACE, Drawn, Points, thinning_note
from dd_sfm.viz.browser.picture_plane import PicturePlane
from dd_sfm.viz.browser.scene import SceneNodes, vertical_fov
from dd_sfm.viz.render.orbit import orbit_from_viewpoint, point_at
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.render.view_state import ViewState
from dd_sfm.viz.render.viewpoints import Viewpoint, find_viewpoint, parse_camera_view

logger = logging.getLogger(__name__)

USUAL_SIZE = 880, 800
"""Width and height of the scene beside the panel before a browser has told its own."""
NEAR_SHARE, FAR_SHARE = 2e-3, 100.0
"""Nearest and farthest distance that is drawn, as shares of the clouds' extent."""


@dataclass(frozen=True)
class PageCamera:
    """Where the page looks from: ``position``, ``look_at`` and ``up`` (3,) each, and the vertical angle in radians."""

    position: FloatArray
    look_at: FloatArray
    up: FloatArray
    fov: float

    def apply(self, camera: Any, extent: float | None = None) -> None:
        """Set a camera of viser; with the extent of the clouds also the range of distances that it draws."""
        camera.position, camera.look_at, camera.up = self.position, self.look_at, self.up
        camera.fov = self.fov
        if extent is not None:
            camera.near, camera.far = NEAR_SHARE * extent, FAR_SHARE * extent

    def turn(self, camera: Any) -> None:
        """Set the camera of a browser that is connected, whose name for the upper direction differs."""
        camera.up_direction, camera.fov = self.up, self.fov
        camera.position, camera.look_at = self.position, self.look_at


def page_camera(viewpoint: Viewpoint, points: FloatArray) -> PageCamera:
    """The camera at a viewpoint that turns about what it sees of points (N, 3)."""
    orbit = orbit_from_viewpoint(viewpoint, points)
    centre = camera_centres(viewpoint.cam_from_world[None])[0]
    return PageCamera(centre, orbit.pivot, -viewpoint.cam_from_world[1, :3], vertical_fov(viewpoint.camera))


def start_camera(state: ViewState, view: str, size: tuple[int, int] = USUAL_SIZE) -> PageCamera:
    """The camera of a view: front, top, side, oblique or camera:N.

    Raises:
        UsageError, InputError: If the view is unknown, or its frame has no pose.
    """
    points = np.concatenate([cloud.xyz + state.offset(k) for k, cloud in enumerate(state.clouds)])
    return page_camera(find_viewpoint(view, state.clouds[0], points, *size), points)


class Page:
    """The page of a state.

    Changes are drawn by a thread of their own, of many in a row the last one alone: a slider moves faster than a
    million points are sent.

    Args:
        server: ``viser.ViserServer``.
        drawn: Chooses the points.
        camera: Where it looks from at first.
        notes: Lines that the page shows.
    """

    def __init__(self, server: Any, drawn: Drawn, camera: PageCamera, notes: tuple[str, ...] = ()) -> None:
        from dd_sfm.viz.browser.panel import Panel

        self.server, self.drawn, self.state, self.notes = server, drawn, drawn.state, notes
        self.lock = threading.RLock()
        self.nodes = SceneNodes(server.scene, drawn)
        camera.apply(server.initial_camera, drawn.extent)
        self._scene: Scene | None = None
        self._reading = threading.Lock()
        self._asked: set[str] = set()
        self._changed, self._closed, self.is_drawing = threading.Condition(), False, False
        self.panel = Panel(self, notes)
        self._prepare({FRAME})
        self._draw({POINTS, SURFACE, CAMERAS, MARKS, FRAME})
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    # Redrawing

    def ask(self, *parts: str) -> None:
        """Ask for parts of the scene to be drawn anew."""
        with self._changed:
            self._asked.update(parts)
            self._changed.notify_all()

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until everything that was asked for is drawn."""
        with self._changed:
            self._changed.wait_for(lambda: not self._asked and not self.is_drawing, timeout_s)

    def close(self) -> None:
        """End the thread that draws."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self.is_drawing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._asked or self._closed)
                if self._closed:
                    return
                parts, self._asked, self.is_drawing = self._asked, set(), True
            try:
                self._prepare(parts)
                self._draw(parts)
            except Exception as error:  # The page goes on, and says what cannot be drawn.
                logger.debug("cannot draw", exc_info=True)
                with self.lock:
                    self.panel.say_problem(str(error))

    def _prepare(self, parts: set[str]) -> None:
        """Make what takes long while the page still takes clicks."""
        if FRAME not in parts or self.panel.frames is None:
            return
        try:
            self.panel.frames.prepare()
        except Exception as error:  # All else is drawn, and the tab says what cannot be.
            logger.debug("cannot draw the frame", exc_info=True)
            self.panel.frames.prepare_problem(str(error))

    def _draw(self, parts: set[str]) -> None:
        with self.lock, self.server.atomic():
            if SURFACE in parts:
                self.nodes.update_surface()
            if POINTS in parts:
                self._say_shown(self.nodes.update_points())
            if CAMERAS in parts:
                self._draw_cameras()
            if FRAME in parts and self.panel.frames is not None:
                self.panel.frames.draw()
            if MARKS in parts:
                self.nodes.update_marks()
                self.panel.say_measured()

    def _say_shown(self, points: list[Points]) -> None:
        self.panel.say_shown(thinning_note(points, self.drawn.max_points), *self.nodes.problems.values())

    def _draw_cameras(self) -> None:
        for number, node in self.nodes.update_cameras():
            node.on_click(self._to_frame(number))

    def _to_frame(self, number: int) -> Callable[[Any], None]:
        def go(event: Any) -> None:
            if not self.panel.measure.takes_clicks:
                self.panel.show_frame(number, event.client)

        return go

    # What the mouse and the buttons do

    def fit(self, client: Any, view: str) -> None:
        """Let a browser that has just come look from a view: by its own size, which was not known before."""
        with self.lock, client.atomic():
            start_camera(self.state, view, _size_of(client)).turn(client.camera)

    def look_at(self, client: Any, plane: PicturePlane) -> None:
        """Let a browser look at the whole picture of a frame from its camera."""
        size = _size_of(client)
        with self.lock, client.atomic():
            PageCamera(*plane.view(size[0] / size[1])).turn(client.camera)

    def look_from(self, client: Any, view: str) -> None:
        """Let a browser look from a named view or through a camera."""
        size, number = _size_of(client), parse_camera_view(view)
        if self.panel.frames is not None:
            self.panel.frames.edges.stop()
        with self.lock, client.atomic():
            start_camera(self.state, view, size).turn(client.camera)
            self.nodes.is_inside = number is not None
        self.ask(CAMERAS)

    def scene(self) -> Scene:
        """The reconstruction of the first cloud, read when it is first needed.

        Raises:
            InputError: If it cannot be read.
        """
        with self._reading:
            if self._scene is None:
                self._scene = open_scene(self.state.clouds[0].source)
            return self._scene

    def set_scale(self, found: MetricScale, text: str, picks: Sequence[tuple[int, int]] = ()) -> None:
        """Set the length of a scene unit, which was found by what ``--scale`` names by a text, and its error.

        Args:
            found: The scale.
            text: What tells it.
            picks: Cloud and index of both points, where it is their distance.
        """
        with self.lock:
            self.state.mm_per_unit, self.state.scale_error = found.factor, found.error
            self.state.scale_picks = tuple(picks)
            self.panel.say_scale(text)
            self.panel.say_pick("")
        self.ask(MARKS, FRAME)

    def save(self, client: Any) -> None:
        """Let a browser download the scene as one file, seen from where it looks."""
        from dd_sfm.viz.browser.serve import saved_scene

        camera = client.camera
        seen = PageCamera(camera.position, camera.look_at, camera.up_direction, camera.fov)
        with self.lock:
            content, _ = saved_scene(self.state, seen, max_points=self.drawn.max_points, notes=self.notes)
        name = re.sub(r"[^\w.-]+", "_", self.state.clouds[0].label) or "dd-sfm-view"
        client.send_file_download(f"{name}.html", content, save_immediately=True)

    def pick(self, client: Any, origin: tuple[float, ...], direction: tuple[float, ...]) -> None:
        """Pick the nearest point that is shown within a few pixels of a ray (3,) from a place (3,).

        Where the picture of a frame is shown for its edges, the pixel is picked instead.
        """
        frames, height = self.panel.frames, client.camera.image_height or USUAL_SIZE[1]
        if frames is not None and frames.edges.is_on:
            frames.edges.pick(np.array(origin), np.array(direction))
            return
        with self.lock:
            found = pick_along(self.state, np.array(origin), np.array(direction), client.camera.fov, height)
            if found is None:
                self.panel.say_pick("no point here")
                return
            self.panel.say_pick(self.state.pick(*found))
        self.ask(MARKS)


def _size_of(client: Any) -> tuple[int, int]:
    """Width and height of the scene in a browser."""
    return client.camera.image_width or USUAL_SIZE[0], client.camera.image_height or USUAL_SIZE[1]


def pick_along(
    state: ViewState, origin: FloatArray, direction: FloatArray, fov: float, height: int
) -> tuple[int, int] | None:
    """Cloud and index of the nearest visible point within a few pixels of a ray; None without one.

    Args:
        state: The clouds.
        origin: Where the ray begins (3,).
        direction: Its direction (3,).
        fov: Vertical angle of the picture in radians.
        height: Height of the picture in pixels.
    """
    focal = height / 2 / np.tan(fov / 2)
    # A camera that looks along the ray: pixels are then distances from it.
    camera = PinholeCamera(2, 2, focal, focal, 0.0, 0.0)
    axes = _axes_along(direction)
    pose = np.column_stack([axes, -axes @ origin])
    best: tuple[float, int, int] | None = None
    for k, cloud in enumerate(state.clouds):
        visible = np.flatnonzero(state.visible(k))
        projected = project(cloud.xyz[visible] + state.offset(k), camera, pose)
        found = point_at(projected, 0.0, 0.0)
        if found is not None and (best is None or projected.depth[found] < best[0]):
            best = float(projected.depth[found]), k, int(visible[found])
    return None if best is None else best[1:]


def _axes_along(direction: FloatArray) -> FloatArray:
    """Axes (3, 3) whose third row is a direction (3,)."""
    forward = direction / np.linalg.norm(direction)
    right = np.cross(np.eye(3)[np.argmin(np.abs(forward))], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])
