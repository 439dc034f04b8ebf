"""Open3D geometry of what a state shows, built from whole arrays."""

from functools import cached_property
from typing import Any

import numpy as np

from dd_sfm.viz.render.camera_shapes import Lines, Pictures, camera_lines, camera_pictures
from dd_sfm.viz.render.colours import RUN_RGB
from dd_sfm.viz.render.view_state import ViewState

PICK_RGB = (20, 160, 90)


class Shapes:
    """Clouds, camera frustums, pictures in them, and marks of picked points, updated when the state changes."""

    def __init__(self, state: ViewState) -> None:
        import open3d

        self._geometry: Any = open3d.geometry
        self._utility: Any = open3d.utility
        self.state = state
        kinds = [self._geometry.TriangleMesh if len(c.faces) else self._geometry.PointCloud for c in state.clouds]
        self.clouds = [kind() for kind in kinds]
        self.lines = [self._geometry.LineSet() for _ in state.clouds]
        self.pictures, self.marks = self._geometry.TriangleMesh(), self._geometry.TriangleMesh()
        self.update_points()
        self.update_cameras()

    @property
    def all(self) -> list[Any]:
        """All geometry to draw."""
        return [*self.clouds, *self.lines, self.pictures, self.marks]

    @property
    def point_count(self) -> int:
        """Number of points that are drawn; meshes, which are never thinned, do not count."""
        clouds = [g for g, cloud in zip(self.clouds, self.state.clouds, strict=True) if not len(cloud.faces)]
        return sum(len(np.asarray(geometry.points)) for geometry in clouds)

    def update_points(self, every: int = 1) -> list[Any]:
        """Update the visible points, or every N-th of them; returns the geometry that has changed."""
        vectors = self._utility.Vector3dVector
        for k, (geometry, cloud) in enumerate(zip(self.clouds, self.state.clouds, strict=True)):
            visible = self.state.visible(k)
            if len(cloud.faces):
                geometry.vertices = vectors(cloud.xyz + self.state.offset(k))
                geometry.vertex_colors = vectors(self.state.colours(k) / 255.0)
                geometry.triangles = self._utility.Vector3iVector(cloud.faces[visible[cloud.faces].all(1)])
                continue
            chosen = np.flatnonzero(visible)[::every]
            geometry.points = vectors(cloud.xyz[chosen] + self.state.offset(k))
            geometry.colors = vectors(self.state.colours(k)[chosen] / 255.0)
        return [*self.clouds]

    @cached_property
    def _pictures(self) -> Pictures:
        return camera_pictures(self.state.clouds[0], self.state.frustum_depth())

    def update_cameras(self) -> list[Any]:
        """Update frustums, pictures and marks; returns the geometry that has changed."""
        vectors = self._utility.Vector3dVector
        # Looking through a camera, its own frustum and those around it would cover the view.
        on = self.state.cameras and self.state.camera is None
        for k, geometry in enumerate(self.lines):
            own = RUN_RGB[k] if len(self.clouds) > 1 else None
            lines = camera_lines(self.state.clouds[k], self.state.frustum_depth(), own)
            if not on or self.state.only not in (None, k):
                lines = Lines(lines.ends[:0], lines.rgb[:0])
            geometry.points = vectors(lines.ends.reshape(-1, 3) + self.state.offset(k))
            geometry.lines = self._utility.Vector2iVector(np.arange(2 * len(lines.ends)).reshape(-1, 2))
            geometry.colors = vectors(lines.rgb / 255.0)
        show_pictures = on and self.state.thumbnails and self.state.only in (None, 0)
        self.pictures.vertices = vectors(self._pictures.vertices)
        self.pictures.vertex_colors = vectors(self._pictures.rgb / 255.0)
        self.pictures.triangles = self._utility.Vector3iVector(self._pictures.triangles[: None if show_pictures else 0])
        return [*self.lines, self.pictures, self.update_marks()]

    def update_marks(self) -> Any:
        """Update the balls at picked points; returns their geometry."""
        ball: Any = self._geometry.TriangleMesh()
        for k, point in self.state.picks:
            centre = self.state.clouds[k].xyz[point] + self.state.offset(k)
            ball += self._geometry.TriangleMesh.create_sphere(self.state.mark_radius(), 12).translate(centre)
        ball.paint_uniform_color(np.array(PICK_RGB) / 255)
        self.marks.vertices, self.marks.triangles = ball.vertices, ball.triangles
        self.marks.vertex_colors = ball.vertex_colors
        return self.marks
