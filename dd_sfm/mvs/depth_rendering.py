"""Depth of any frame with a pose, drawn from a cloud: every point is a disc of the surface around it.

Surfaces are told from what floats in front of them as in volume rendering: each disc takes a share of the light, and
the surface begins where half of it is taken. There the discs of about the same depth are averaged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.mvs.kernels.surfels import CHANNELS, draw_front, draw_surface
from dd_sfm.structures import FloatArray, PointCloud

NEIGHBOURS = 6
"""The spacing of points is the distance of so many neighbours..."""
RADIUS = 2.0
"""...and a disc's radius so many spacings."""
OPACITY = 0.5
"""Share of the light that a sure point takes; a point of median error takes half of that."""
LEEWAY = 0.05
"""Relative difference of depths up to which discs are of one surface."""
MOST_SPREAD = 0.15
"""Share by which the inverse depth of a disc may change from its centre to its rim: steeper ones are flattened."""
MOST_RADIUS, MOST_RADIUS_PX = 0.02, 6.0
"""Share of a picture's height, and pixels of a small picture, that a disc may reach: what is farther is not known."""
ONE_SIDED = 0.35
"""Mean distance of the discs' centres, in radii, from which on a pixel lies beyond the rim of what was measured."""
LEAST_SIGMA, UNKNOWN_SIGMA = 1e-4, 0.01


@dataclass(frozen=True)
class RenderedDepth:
    """A frame as a cloud shows it.

    ``depth`` (H, W) float32 along the optical axis, 0 where unknown; ``sigma`` (H, W) float32: expected relative error;
    ``normals`` (3, H, W) float32 of unit length in the camera's axes, towards it; both 0 where the depth is.
    """

    depth: NDArray[np.float32]
    sigma: NDArray[np.float32]
    normals: NDArray[np.float32]


class SurfaceDiscs:
    """A cloud as discs that lie on its surface, ready to be drawn into frames.

    Args:
        cloud: Points with normals; ``uncertainty``, where it is known, weighs them.
    """

    def __init__(self, cloud: PointCloud) -> None:
        self.xyz, self.normals = cloud.xyz, cloud.normals
        self.spacing = _spacing(cloud.xyz)
        known = np.full(len(cloud.xyz), UNKNOWN_SIGMA) if cloud.uncertainty is None else cloud.uncertainty
        is_known = np.isfinite(known)
        self.sigma: FloatArray = np.where(is_known, np.maximum(known, LEAST_SIGMA), np.inf)
        usual = float(np.median(self.sigma[is_known])) if is_known.any() else UNKNOWN_SIGMA
        self.opacity: FloatArray = OPACITY / (1 + (self.sigma / usual) ** 2)

    def render(self, camera: PinholeCamera, cam_from_world: FloatArray) -> RenderedDepth:
        """Draw the discs as a camera sees them from a pose (3, 4); what lies behind others is hidden."""
        points = world_to_camera(self.xyz, cam_from_world)
        xy, depth = camera.project(points)
        margin = max(MOST_RADIUS_PX, MOST_RADIUS * camera.height)
        with np.errstate(invalid="ignore"):
            inside = ((xy > -margin) & (xy < np.array(camera.size) + margin)).all(1)
        seen = np.flatnonzero((depth > 0) & inside & np.isfinite(self.sigma))
        seen = seen[np.argsort(depth[seen], kind="stable")]
        planes = _inverse_planes(camera, points[seen], self.normals[seen] @ cam_from_world[:, :3].T)
        radius = np.clip(RADIUS * self.spacing[seen] * camera.fx / depth[seen], 1.0, margin)
        steep = np.hypot(planes[:, 1], planes[:, 2]) * radius / (MOST_SPREAD * planes[:, 0])
        planes[:, 1:] /= np.maximum(steep, 1)[:, None]
        front = np.zeros((camera.height, camera.width), np.float32)
        total = np.zeros((CHANNELS, *front.shape), np.float32)
        draw_front(xy[seen], planes, radius, self.opacity[seen], front, np.ones_like(front))
        draw_surface(xy[seen], planes, radius, self.sigma[seen], LEEWAY, front, total)
        return _rendered(camera, total)


def _rendered(camera: PinholeCamera, total: NDArray[np.float32]) -> RenderedDepth:
    """Means by the sums of :func:`dd_sfm.mvs.kernels.surfels.draw_surface`."""
    known = (total[0] > 0) & (np.hypot(total[6], total[7]) <= ONE_SIDED * total[5])
    weight = np.where(known, total[0], 1)
    inverse, across, down, sigma = (np.where(known, total[k] / weight, 0) for k in range(1, 5))
    # Large pictures: nothing here is float64.
    columns, rows = (np.arange(size, dtype=np.float32) for size in camera.size)
    # With the inverse depth n . (x, y, 1) / d of a plane n . X = d, its slopes are n's first two entries.
    ahead = inverse - across * (columns - camera.cx) - down * (rows[:, None] - camera.cy)
    normals = -np.stack([across * camera.fx, down * camera.fy, ahead])
    normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-12)
    depth = np.where(known, 1 / np.where(known, inverse, 1), 0)
    return RenderedDepth(depth.astype(np.float32), sigma.astype(np.float32), normals.astype(np.float32))


def _spacing(xyz: FloatArray) -> FloatArray:
    """Distance (P,) to the farthest of the nearest neighbours."""
    if len(xyz) < 2:
        return np.zeros(len(xyz))
    return np.asarray(cKDTree(xyz).query(xyz, k=[min(NEIGHBOURS + 1, len(xyz))])[0])[:, 0]


def _inverse_planes(camera: PinholeCamera, points: FloatArray, normals: FloatArray) -> FloatArray:
    """Inverse depths (N,) of points (N, 3) in a camera's axes, and their slopes per pixel (N, 2) on their planes."""
    distance = (normals * points).sum(1)
    is_turned = np.abs(distance) > 1e-9 * np.linalg.norm(points, axis=1)
    slopes = np.where(is_turned[:, None], normals[:, :2] / np.where(is_turned, distance, 1)[:, None], 0) / camera.focal
    return np.column_stack([1 / points[:, 2], slopes])
