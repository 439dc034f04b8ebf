"""An instrument in the picture: a straight shaft with a round tip, which comes in beside the scope and leaves again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dd_sfm.ops.rays import RayScene
from dd_sfm.synthetic.light import irradiance, reflections
from dd_sfm.synthetic.mesh import Mesh
from dd_sfm.synthetic.noise import NoiseField, smooth_series
from dd_sfm.synthetic.path import CameraPath
from dd_sfm.synthetic.settings import LightSettings

CHANNEL_MM = 3.5
"""Between the axis of the camera and that of the channel which the instrument comes out of."""
RADIUS_MM = 0.6
REACH_MM = 12.0
"""How far in front of the camera its tip may be."""
WALL_SHARE = 0.75
"""Of the way to the wall that the tip may go."""
SWAY_MM = 1.6
"""How far the hand moves it sideways, as a standard deviation."""
METAL = np.array([0.09, 0.093, 0.1], np.float32)
RING_EVERY_MM, RING_MM = 5.0, 0.8
"""Dark rings by which instruments show how far they are out."""
JAW_MM = 2.5
"""Length of the darker tip."""
GLOSS = 4.0
"""Mirror-like light of the metal, relative to wet tissue."""


@dataclass(frozen=True)
class Tool:
    """Where the instrument is in each frame, in the camera's axes and mm.

    ``present`` (N,) bool; ``tip`` (N, 3): centre of the round tip; ``axis`` (N, 3): unit vectors along the shaft
    towards the tip; ``scratches``: brightness of the metal, None where it is never seen.
    """

    present: NDArray[np.bool_]
    tip: NDArray[np.float64]
    axis: NDArray[np.float64]
    scratches: NoiseField | None

    @staticmethod
    def plan(rng: np.random.Generator, share: float, path: CameraPath, mesh: Mesh) -> "Tool":
        """Plan its movement.

        Args:
            rng: Random generator.
            share: Of the clip, around its middle, in which it is seen; 1 for all of it, 0 for none.
            path: Of the camera.
            mesh: The organ at rest, which the tip keeps away from.
        """
        count = len(path.centre)
        if not share:
            nowhere = np.zeros((count, 3))
            return Tool(np.zeros(count, bool), nowhere, nowhere, None)
        tissue = RayScene(mesh.vertices, mesh.faces)
        angle = rng.uniform(np.radians(20), np.radians(160))  # Below the picture's middle.
        channel = CHANNEL_MM * np.array([np.cos(angle), np.sin(angle), 0.0])
        sway = smooth_series(rng, count, 12.0, 3)
        aim = np.array([0.0, 0.0, 9.0]) + np.array([SWAY_MM, SWAY_MM, 0.0]) * sway
        aim /= np.linalg.norm(aim, axis=1, keepdims=True)
        wall = tissue.distance(path.centre, np.einsum("nij,nj->ni", path.rotation, aim))
        free = np.minimum(WALL_SHARE * np.minimum(wall, 1e3), REACH_MM)
        # The hand moves smoothly, and never further than the wall of the frames around allows.
        free = ndimage.gaussian_filter1d(ndimage.minimum_filter1d(free, 15), 4.0)
        shaft = free[:, None] * aim - channel
        out = _extension(count, share) * (0.85 + 0.15 * np.tanh(sway[:, 2]))
        tip, axis = channel + out[:, None] * shaft, shaft / np.linalg.norm(shaft, axis=1, keepdims=True)
        return Tool(out > 0, tip, axis, NoiseField(rng, (1.5, 1.5, 12.0), (2, 20)))

    def at(self, frame: int, path: CameraPath) -> "PlacedTool | None":
        """The instrument among the tissue in a frame; None where it is not out."""
        if not self.present[frame] or self.scratches is None:
            return None
        rotation = path.rotation[frame]
        return PlacedTool(
            rotation @ self.tip[frame] + path.centre[frame], rotation @ self.axis[frame], rotation, self.scratches
        )


def _extension(count: int, share: float) -> NDArray[np.float64]:
    """How far out it is (N,), 0 to 1: for a share of the time around the middle, with soft ends."""
    if share >= 1:
        return np.ones(count)
    # In at least one frame.
    share = max(share, 1.5 / count)
    place = np.abs(np.linspace(-1, 1, count))
    inside = np.clip((share - place) / max(0.25 * share, 1e-9), 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside))


@dataclass(frozen=True)
class PlacedTool:
    """The instrument in the world: a capsule that is open at the scope's end.

    ``tip`` (3,) in mm, ``axis`` (3,) unit vector towards the tip, ``rotation`` world_from_cam, ``scratches``.
    """

    tip: NDArray[np.float64]
    axis: NDArray[np.float64]
    rotation: NDArray[np.float64]
    scratches: NoiseField

    def distance(self, origin: NDArray[Any], directions: NDArray[Any]) -> NDArray[np.float32]:
        """Distance (N,) to the first hit in lengths of directions (N, 3) from one origin (3,); inf for none.

        The shaft is met where the part of the ray across the axis is a radius away from it, the tip as a sphere.
        """
        to_origin, rays = np.asarray(origin, np.float64) - self.tip, np.asarray(directions, np.float64)
        along, start = rays @ self.axis, float(to_origin @ self.axis)
        across, offset = rays - along[:, None] * self.axis, to_origin - start * self.axis
        shaft = _first_root((across**2).sum(1), across @ offset, float(offset @ offset) - RADIUS_MM**2)
        shaft[~(start + np.where(np.isfinite(shaft), shaft, 0) * along < 0)] = np.inf
        tip = _first_root((rays**2).sum(1), rays @ to_origin, float(to_origin @ to_origin) - RADIUS_MM**2)
        return np.minimum(shaft, tip).astype(np.float32)

    def light(
        self,
        points: NDArray[Any],
        camera: NDArray[Any],
        tissue: RayScene,
        settings: LightSettings,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Light (N, 3) of points (N, 3) on its surface, and the mirror-like part of it (N,)."""
        local = points - self.tip
        behind = local @ self.axis
        normals = local - np.minimum(behind, 0)[:, None] * self.axis
        normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
        grain = self.scratches(np.column_stack([local @ self.rotation[:, 0], local @ self.rotation[:, 1], behind]))
        tone = 1 + 0.15 * grain
        tone[(np.mod(-behind, RING_EVERY_MM) < RING_MM) & (behind < -JAW_MM)] *= 0.2
        tone[behind > -JAW_MM] *= 0.55
        colour = np.clip(tone, 0.02, 1.6)[:, None] * METAL
        here = points.astype(np.float32), normals, camera, self.rotation
        lit = irradiance(tissue, *here, np.ones(len(points), np.float32), colour, settings, np.asarray)
        mirrored = GLOSS * reflections(*here, settings)
        return lit + mirrored[:, None], mirrored


@dataclass(frozen=True)
class Blockers:
    """What stops rays: the tissue, and the instrument where there is one."""

    tissue: RayScene
    tool: PlacedTool | None

    def distance(self, origin: NDArray[Any], directions: NDArray[Any]) -> NDArray[np.float32]:
        """Distance (N,) from one origin (3,) to the first hit, in lengths of directions (N, 3); inf for none."""
        reached = self.tissue.distance(origin, directions)
        return reached if self.tool is None else np.minimum(reached, self.tool.distance(origin, directions))


def _first_root(square: NDArray[Any], half: NDArray[Any], rest: float) -> NDArray[np.float64]:
    """The smallest root above 0 of ``square t^2 + 2 half t + rest`` (N,) from outside (``rest`` > 0); inf for none."""
    inside = half**2 - square * rest
    found = (inside > 0) & (half < 0) & (square > 1e-12)
    root = np.full(len(square), np.inf)
    root[found] = (-half[found] - np.sqrt(inside[found])) / square[found]
    return np.where(root > 0, root, np.inf)
