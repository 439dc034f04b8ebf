"""The 3D scene of the page: a state as nodes of viser."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.errors import InputError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.browser.drawn import Drawn, Points, confidence_rgb
from dd_sfm.viz.browser.glb import mesh_as_glb
from dd_sfm.viz.render.camera_shapes import camera_lines, evenly_spread, small_image
from dd_sfm.viz.render.cloud_view import CloudView, mesh_path, open_mesh
from dd_sfm.viz.render.colours import RUN_RGB, ColourScale
from dd_sfm.viz.render.view_state import ViewState

MAX_CAMERAS = 24
"""Cameras that are drawn, evenly spread over the video."""
PICTURE_WIDTH_PX = 128
PICK_RGB = (20, 160, 90)
SURFACE_NAME = "/mesh"
POINT_SPACINGS = 1.1
"""Diameter of a point in units of the distance between points."""


class SceneNodes:
    """Clouds, cameras, and marks of picked points in a scene of viser, updated when the state changes.

    ``by_confidence``: colour cameras by the confidence of their poses; ``is_inside``: the view is that of a camera,
    which those around it would cover; ``is_hidden``: a picture is shown instead of points, meshes and marks;
    ``problems``: by index of the run, what is wrong with a mesh that cannot be shown.

    Args:
        scene: ``ViserServer.scene``.
        drawn: Chooses the points.
    """

    def __init__(self, scene: Any, drawn: Drawn) -> None:
        self.scene, self.drawn = scene, drawn
        self.by_confidence, self.is_inside, self.is_hidden = False, False, False
        self._clouds: dict[int, Any] = {}
        self._surfaces: dict[int, Any] = {}
        self.problems: dict[int, str] = {}
        self._cameras: list[Any] = []
        self._marks: list[Any] = []
        self._pictures: dict[int, NDArray[np.uint8] | None] = {}
        scene.set_up_direction(tuple(-self.state.axes[1]))

    @property
    def state(self) -> ViewState:
        """What is shown."""
        return self.drawn.state

    def update_points(self) -> list[Points]:
        """Draw the points anew; returns what is drawn."""
        parts = self.drawn.points()
        for k, part in enumerate(parts):
            if len(self.state.clouds[k].faces):
                self._update_mesh(k)
            elif k not in self._clouds:
                self._clouds[k] = self._add_points(f"/points {k + 1}", part, visible=self._shows_points(k))
            else:
                handle = self._clouds[k]
                handle.points, handle.colors, handle.point_size = part.xyz, part.rgb, self.point_size
                handle.visible = self._shows_points(k)
        return parts

    def _shows_points(self, k: int) -> bool:
        """Whether the points of a cloud are shown: its mesh, or a picture, may be shown instead."""
        return not self.is_hidden and (self.state.surface != "mesh" or self._surface(k) is None)

    def update_surface(self) -> None:
        """Show the meshes of the runs that have one, or not; they are read when they are shown for the first time."""
        for k in range(len(self.state.clouds)):
            shown = self.state.surface != "points" and self.state.only in (None, k) and not self.is_hidden
            node = self._surface(k) if shown else self._surfaces.get(k)
            if node is not None:
                node.visible, node.position = shown, self.state.offset(k)

    def add_surfaces(self) -> None:
        """Add the meshes of all runs, which a saved page can switch on."""
        meshes = [self._surface(k) for k in range(len(self.state.clouds))]
        if any(mesh is not None for mesh in meshes):
            self.scene.get_handle_by_name(SURFACE_NAME).visible = self.state.surface != "points"

    def _surface(self, k: int) -> Any:
        """The mesh of a run, beside the first one where the runs are side by side; None where none can be shown."""
        if k not in self._surfaces and mesh_path(self.state.clouds[k]) is not None:
            self._surfaces[k] = self._add_surface(k)
        return self._surfaces.get(k)

    def _add_surface(self, k: int) -> Any:
        try:
            mesh = open_mesh(self.state.clouds[k])
        except InputError as error:
            self.problems[k] = str(error)
            return None
        node = None if mesh is None else self.add_mesh(f"{SURFACE_NAME}/run {k + 1}", mesh.xyz, mesh.faces, mesh.rgb)
        if node is not None:
            node.position = self.state.offset(k)
        return node

    @property
    def point_size(self) -> float:
        """Diameter of the points in scene units."""
        return POINT_SPACINGS * self.drawn.spacing * self.state.point_size

    def _add_points(self, name: str, part: Points, *, visible: bool = True) -> Any:
        return self.scene.add_point_cloud(
            name, part.xyz, part.rgb, point_size=self.point_size, point_shape="circle", precision="float32",
            point_shading="flat", visible=visible,
        )  # fmt: skip

    def add_colourings(self, names: list[str]) -> None:
        """Add the points once for each colouring, the state's own visible: a saved page switches between them."""
        now = self.state.colour
        for name in names:
            self.state.colour = name
            for k, part in enumerate(self.drawn.points()):
                if not len(self.state.clouds[k].faces):
                    self._add_points(f"/colour: {name}/run {k + 1}", part, visible=self._shows_points(k))
            self.scene.get_handle_by_name(f"/colour: {name}").visible = name == now
        self.state.colour = now

    def update_meshes(self) -> None:
        """Draw the clouds that are meshes anew."""
        for k, cloud in enumerate(self.state.clouds):
            if len(cloud.faces):
                self._update_mesh(k)

    def _update_mesh(self, k: int) -> None:
        cloud, visible = self.state.clouds[k], self.state.visible(k)
        faces = cloud.faces[visible[cloud.faces].all(1)]
        self.add_mesh(f"/mesh {k + 1}", cloud.xyz + self.state.offset(k), faces, self.state.colours(k))

    def add_mesh(self, name: str, xyz: FloatArray, faces: NDArray[np.int64], rgb: NDArray[np.uint8]) -> Any:
        """Add a mesh with coloured vertices, or replace that of the same name."""
        if not len(faces):
            self.scene.remove_by_name(name)
            return None
        return self.scene.add_glb(name, mesh_as_glb(xyz, faces, rgb), cast_shadow=False, receive_shadow=False)

    # Cameras

    def update_cameras(self) -> list[tuple[int, Any]]:
        """Draw path, frustums and pictures anew; returns the frame number and the node of each frustum."""
        for node in self._cameras:
            node.remove()
        self._cameras.clear()
        found: list[tuple[int, Any]] = []
        if not self.state.cameras or self.is_inside:
            return found
        for k, cloud in enumerate(self.state.clouds):
            if not cloud.images or self.state.only not in (None, k):
                continue
            own = RUN_RGB[k] if len(self.state.clouds) > 1 else None
            self._add_path(k, cloud, own)
            found += self._add_frustums(k, cloud, own)
        return found

    def _add_path(self, k: int, cloud: CloudView, own: tuple[int, int, int] | None) -> None:
        lines = camera_lines(cloud, 0.0, own, frustums=0)
        if not len(lines.ends):
            return
        ends = (lines.ends + self.state.offset(k)).astype(np.float32)
        colours = np.repeat(lines.rgb[:, None], 2, axis=1)
        node = self.scene.add_line_segments(
            f"/cameras {k + 1}/path", ends, colours, thickness=2.0, thickness_units="screen"
        )
        self._cameras.append(node)

    def _add_frustums(self, k: int, cloud: CloudView, own: tuple[int, int, int] | None) -> list[tuple[int, Any]]:
        chosen = evenly_spread(len(cloud.images), MAX_CAMERAS)
        colours = ColourScale("", 0, max(len(cloud.images) - 1, 1), "plasma").rgb(np.arange(len(cloud.images)))
        found = []
        for i in chosen:
            image = cloud.images[i]
            rgb = own or tuple(int(v) for v in colours[i])
            if self.by_confidence:
                rgb = confidence_rgb(cloud, image.number)
            picture = self._picture(i) if k == 0 and self.state.thumbnails else None
            node = self._add_frustum(
                f"/cameras {k + 1}/{i}", image.camera, cloud.cam_from_world[i], self.state.offset(k), rgb, picture
            )
            found.append((image.number, node))
        return found

    def _add_frustum(
        self, name: str, camera: PinholeCamera, pose: FloatArray, offset: FloatArray, rgb: tuple[int, ...],
        picture: NDArray[np.uint8] | None,
    ) -> Any:  # fmt: skip
        node = self.scene.add_camera_frustum(
            name, fov=vertical_fov(camera), aspect=camera.width / camera.height, scale=self.state.frustum_depth(),
            thickness=1.5, thickness_units="screen", color=rgb, image=picture, wxyz=wxyz_of(pose),
            position=camera_centres(pose[None])[0] + offset,
        )  # fmt: skip
        self._cameras.append(node)
        return node

    def _picture(self, i: int) -> NDArray[np.uint8] | None:
        """The small picture (h, w, 4) of a camera of the first cloud, clear outside the field of view."""
        if i not in self._pictures:
            self._pictures[i] = _clear_outside(small_image(self.state.clouds[0].images[i], PICTURE_WIDTH_PX))
        return self._pictures[i]

    # Marks

    def update_marks(self) -> None:
        """Draw the picked points, the line between them, and what was measured."""
        for node in self._marks:
            node.remove()
        self._marks = []
        if self.is_hidden:
            return
        at = np.array([self.state.clouds[k].xyz[i] + self.state.offset(k) for k, i in self.state.picks]).reshape(-1, 3)
        radius = self.state.mark_radius()
        self._marks = [
            self.scene.add_icosphere(f"/measured/{n}", radius, PICK_RGB, position=xyz, cast_shadow=False)
            for n, xyz in enumerate(at)
        ]
        if len(at) < 2:
            return
        closed = np.concatenate([at, at[:1]]) if self.state.kind == "area" and len(at) > 2 else at
        ends = np.stack([closed[:-1], closed[1:]], 1).astype(np.float32)
        self._marks.append(
            self.scene.add_line_segments("/measured/line", ends, PICK_RGB, thickness=3.0, thickness_units="screen")
        )
        found = self.state.measured()
        if found is not None:
            text = self.state.length_text(found)
            self._marks.append(self.scene.add_label("/measured/label", text, position=at.mean(0)))


def _clear_outside(found: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None) -> NDArray[np.uint8] | None:
    """A picture (h, w, 3) and its field of view (h, w) as one (h, w, 4) that is clear outside of it."""
    return None if found is None else np.dstack([found[0], np.where(found[1], 255, 0).astype(np.uint8)])


def vertical_fov(camera: PinholeCamera) -> float:
    """The angle in radians that a picture covers from top to bottom."""
    return float(2 * np.arctan(camera.height / 2 / camera.fy))


def wxyz_of(pose: FloatArray) -> FloatArray:
    """The orientation of a camera in the world as a quaternion (4,), the real part first, of its pose (3, 4)."""
    x, y, z, w = Rotation.from_matrix(np.asarray(pose)[:, :3].T).as_quat()
    return np.array([w, x, y, z])
