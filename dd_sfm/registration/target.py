"""The surface that a cloud is registered to, as samples with normals that are found quickly."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError
from dd_sfm.io.surfaces import Surface
from dd_sfm.structures import FloatArray, IntArray

SAMPLES = 200_000
NEIGHBOURS = 12
"""Of a point of a surface that has no triangles, for its normal."""
NEAR_SAMPLES = 2
"""A point's nearest place on the triangles is searched on those of so many nearest samples."""


@dataclass(frozen=True)
class Target:
    """Samples of a surface.

    ``xyz`` (S, 3) and ``normals`` (S, 3) of the samples; ``face`` (S,): the triangle that each lies on, empty where the
    surface is a cloud; ``surface``: what was read.
    """

    xyz: FloatArray
    normals: FloatArray
    face: IntArray
    surface: Surface

    @cached_property
    def tree(self) -> cKDTree:
        """The samples, to be searched."""
        return cKDTree(self.xyz)

    @cached_property
    def radius(self) -> float:
        """Root mean square distance of the samples from their centre."""
        return float(np.sqrt(np.square(self.xyz - self.xyz.mean(0)).sum(1).mean()))

    def thinned(self, count: int) -> "Target":
        """About ``count`` of the samples."""
        step = max(1, len(self.xyz) // count)
        return Target(self.xyz[::step], self.normals[::step], self.face[::step], self.surface)

    def distances(self, points: FloatArray) -> FloatArray:
        """Distances (N,) of points (N, 3) from the surface: from its triangles, or from its points' planes."""
        near = min(NEAR_SAMPLES, len(self.xyz))
        distance, index = map(np.asarray, self.tree.query(points, k=[*range(1, near + 1)]))
        if not len(self.face):
            away = np.abs(((points - self.xyz[index[:, 0]]) * self.normals[index[:, 0]]).sum(1))
            return np.asarray(np.minimum(away, distance[:, 0]))
        from trimesh.triangles import closest_point

        best = distance[:, 0].copy()
        corners = self.surface.vertices[self.surface.faces]
        for column in range(near):
            place = closest_point(corners[self.face[index[:, column]]], points)
            best = np.minimum(best, np.linalg.norm(place - points, axis=1))
        return best


def make_target(surface: Surface, *, samples: int = SAMPLES, seed: int = 0) -> Target:
    """Spread samples evenly over the area of a surface; a cloud's own points are its samples.

    Raises:
        InputError: If the surface has no area.
    """
    rng = np.random.default_rng(seed)
    if not len(surface.faces):
        chosen = np.sort(rng.permutation(len(surface.vertices))[:samples])
        xyz = surface.vertices[chosen]
        return Target(xyz, _cloud_normals(xyz), np.zeros(0, np.int64), surface)
    a, b, c = (surface.vertices[surface.faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    double = np.linalg.norm(across, axis=1)
    if not double.sum() > 0:
        raise InputError(f"{surface.name}: its triangles have no area; expected a surface")
    steps = (np.arange(samples) + rng.random(samples)) / samples
    face = np.minimum(np.searchsorted(np.cumsum(double) / double.sum(), steps), len(double) - 1)
    u, v = rng.random((2, samples, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    xyz = a[face] + u * (b - a)[face] + v * (c - a)[face]
    order = rng.permutation(samples)
    return Target(xyz[order], (across / np.maximum(double, 1e-30)[:, None])[face][order], face[order], surface)


def _cloud_normals(xyz: FloatArray) -> NDArray[np.float64]:
    """The flattest direction among the nearest points, of either sign."""
    index = np.asarray(cKDTree(xyz).query(xyz, k=min(NEIGHBOURS, len(xyz)))[1]).reshape(len(xyz), -1)
    local = xyz[index] - xyz[index].mean(1, keepdims=True)
    return np.asarray(np.linalg.eigh(local.transpose(0, 2, 1) @ local)[1][:, :, 0])
