"""Depth maps of single frames as pictures: what ``dd-sfm convert --to depth`` writes, small and in colours."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.scene import Scene, scene_uncertainty
from dd_sfm.mvs.depth_rendering import SurfaceDiscs
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.viz.render.colours import ColourScale, colour_scale
from dd_sfm.viz.render.viewpoints import Viewpoint


class DepthView:
    """Draws the depth of frames from the points of a reconstruction.

    The points are read when the first depth map is asked for; where a run has no ``points.ply`` with their normals,
    these are found, which takes seconds for each hundred thousand.

    Args:
        scene: Reads the reconstruction.
        mm_per_unit: Length of a scene unit; None when unknown.
    """

    def __init__(self, scene: Callable[[], Scene], mm_per_unit: float | None = None) -> None:
        self.scene, self.mm_per_unit = scene, mm_per_unit

    @cached_property
    def _discs(self) -> SurfaceDiscs:
        scene = self.scene()
        uncertainty = scene_uncertainty(scene)
        if scene.run is not None and uncertainty is not None:
            # It is then of these points.
            cloud = read_cloud(scene.run / "points.ply")
            if np.abs(cloud.normals).max(initial=0) > 0:
                return SurfaceDiscs(cloud)
        return SurfaceDiscs(to_cloud(scene.model, uncertainty))

    def depth(self, viewpoint: Viewpoint) -> tuple[NDArray[np.uint8], ColourScale]:
        """The depth (H, W, 3) along the optical axis in colours, grey where it is not known, and their scale."""
        drawn = self._discs.render(viewpoint.camera, viewpoint.cam_from_world)
        return self._coloured("depth", np.where(drawn.depth > 0, drawn.depth, np.nan))

    def error(self, viewpoint: Viewpoint) -> tuple[NDArray[np.uint8], ColourScale]:
        """The length (H, W, 3) that half of the errors of such depths stay below, in colours, and their scale."""
        drawn = self._discs.render(viewpoint.camera, viewpoint.cam_from_world)
        return self._coloured(
            "expected error of the depth", np.where(drawn.depth > 0, drawn.depth * drawn.sigma, np.nan)
        )

    def _coloured(self, label: str, lengths: NDArray[np.float32]) -> tuple[NDArray[np.uint8], ColourScale]:
        unit = "scene units" if self.mm_per_unit is None else "mm"
        values = (lengths * (self.mm_per_unit or 1.0)).ravel()
        scale = colour_scale(f"{label} [{unit}]", values)
        return scale.rgb(values).reshape(*lengths.shape, 3), scale


DEPTH_PICTURES: dict[str, Callable[[DepthView, Viewpoint], tuple[NDArray[np.uint8], ColourScale]]] = {
    "depth": DepthView.depth,
    "error of the depth": DepthView.error,
}
"""The pictures by the names that users choose them by."""
