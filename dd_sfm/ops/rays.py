"""Rays against a triangle mesh, by Intel's Embree."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hits:
    """Per ray: ``distance`` (N,) in lengths of the direction, inf for none; ``face`` (N,), -1; ``weights`` (N, 3)."""

    distance: NDArray[np.float32]
    face: NDArray[np.int32]
    weights: NDArray[np.float32]


class RayScene:
    """A mesh ready for rays.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.
    """

    def __init__(self, vertices: NDArray[Any], faces: NDArray[Any]) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene(robust=True)
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices, np.float32), np.asarray(faces, np.int32))

    def cast(self, origins: NDArray[Any], directions: NDArray[Any]) -> Hits:
        """First hits of rays (N, 3); directions need no unit length."""
        found = self._scene.run(_rows(origins, len(directions)), _rows(directions, len(directions)), output=1)
        face = found["primID"]
        distance = np.where(face >= 0, found["tfar"], np.inf).astype(np.float32)
        u, v = found["u"], found["v"]
        return Hits(distance, face, np.stack([1 - u - v, u, v], 1))

    def distance(self, origins: NDArray[Any], directions: NDArray[Any]) -> NDArray[np.float32]:
        """Distance (N,) to the first hit, in units of the direction's length; inf for none."""
        return self.cast(origins, directions).distance


def _rows(values: NDArray[Any], count: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.broadcast_to(values, (count, 3)), np.float32)
