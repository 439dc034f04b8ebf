"""The camera path through an organ: a smooth curve that keeps clear of the walls, with hand tremor."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from dd_sfm.errors import ReconstructionError
from dd_sfm.ops.rays import RayScene
from dd_sfm.synthetic.mesh import Mesh
from dd_sfm.synthetic.noise import smooth_series
from dd_sfm.synthetic.organs import Shape
from dd_sfm.synthetic.settings import PathSettings

INSIDE_RAYS = 64
BACK_STRENGTH, BACK_AND_FORTH_NET = 3.0, 0.496
"""How far the scope turns back where it does, and the share of the distance gone that it is then from the start."""
BEHIND = -0.5
"""Cosine between the nearest normal and the direction from there, below which a place may be behind a wall."""
MIN_INSIDE = 0.6
"""Smallest share of rays that hit the wall from inside; a tube with an open end still has most."""


@dataclass(frozen=True)
class CameraPath:
    """``rotation`` (N, 3, 3) world_from_cam and ``centre`` (N, 3) in mm; x right, y down, z forward."""

    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]


def plan_path(
    shape: Shape, vertices: NDArray[Any], count: int, settings: PathSettings, rng: np.random.Generator
) -> CameraPath:
    """Plan a camera path of ``count`` frames.

    Raises:
        ReconstructionError: If the organ is too narrow for the clearance or the tremor asked for.
    """
    speed = settings.speed or shape.speed
    line = _route(shape)
    walls = _Walls(cKDTree(vertices), shape.mesh)
    line = _push_from_walls(line, walls, settings.clearance + 0.4)
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    # Of the distance gone this share is left between start and farthest point.
    net = (0.5 if settings.loop else 1.0) * (BACK_AND_FORTH_NET if settings.returns else 1.0)
    wanted = min(speed * (count - 1), (travelled[-1] - 0.1) / net)
    pace = np.cumsum(np.maximum(1 + 0.35 * smooth_series(rng, count, 10.0, 1)[:, 0], 0.15))
    share = (pace - pace[0]) / (pace[-1] - pace[0])
    start = rng.uniform(0, 1) * max(0.0, 0.6 * travelled[-1] - wanted)
    # A loop goes out and back on nearly the same way: the tremor alone makes the difference.
    there = 0.25 * (1 - np.cos(2 * np.pi * share)) if settings.loop else share
    if settings.returns:
        there = BACK_AND_FORTH_NET * back_and_forth(there, settings.returns)
    at = start + wanted * there
    place = np.stack([np.interp(at, travelled, c) for c in line.T], 1)
    place += settings.tremor * 0.10 * smooth_series(rng, count, 4.0, 3)
    place += settings.tremor * 0.45 * smooth_series(rng, count, 16.0, 3)
    place = _push_from_walls(place, walls, settings.clearance)
    place = gaussian_filter1d(place, 1.5, axis=0, mode="nearest")
    nearest = float(np.min(walls.tree.query(place)[0]))
    if nearest < 0.5 * settings.clearance:
        raise ReconstructionError(
            f"path: the scope comes within {nearest:.1f} mm of a wall; expected at least {settings.clearance:g} mm. "
            "Try another --seed or --set path.clearance=1"
        )
    lost = np.flatnonzero(inside_share(shape.mesh, place, walls.rays) < MIN_INSIDE)
    if len(lost):
        raise ReconstructionError(
            f"path: frame {lost[0]} is outside the organ (path.clearance {settings.clearance:g}, path.tremor "
            f"{settings.tremor:g}); expected less of both. Try --set path.clearance=2 --set path.tremor=1"
        )
    target = np.stack(
        [np.interp(np.minimum(at + shape.ahead, travelled[-1] + 1e3), *_extended(travelled, c)) for c in line.T], 1
    )
    sway = 0.035 * settings.tremor * shape.ahead * smooth_series(rng, count, 14.0, 3)
    jitter = 0.0035 * settings.tremor * shape.ahead * smooth_series(rng, count, 2.5, 3)
    forward = gaussian_filter1d(target - place, 4.0, axis=0, mode="nearest") + sway + jitter
    roll = 0.06 * settings.tremor * smooth_series(rng, count, 18.0, 1)[:, 0] + rng.uniform(-0.3, 0.3)
    return CameraPath(_look_along(forward, roll), place)


def back_and_forth(share: NDArray[Any], returns: int) -> NDArray[Any]:
    """How far along its way (N,) from 0 to 1 the scope is that turns back so often, by the share of time gone (N,)."""
    turn = 2 * np.pi * returns
    there: NDArray[Any] = share + BACK_STRENGTH * np.sin(turn * share) / turn
    return there


def inside_share(mesh: Mesh, places: NDArray[Any], rays: RayScene | None = None) -> NDArray[np.float64]:
    """Share (N,) of all directions from places (N, 3) in which the wall's free side is seen: near 1 inside, 0 outside.

    Pushed off a wall by more than an organ is wide, a path comes out on the other side. ``rays``: what they are cast
    into, where it was made before.
    """
    rays = RayScene(mesh.vertices, mesh.faces) if rays is None else rays
    k = np.arange(INSIDE_RAYS) + 0.5
    z, turn = 1 - 2 * k / INSIDE_RAYS, np.pi * (1 + 5**0.5) * k
    spokes = np.stack([np.cos(turn) * np.sqrt(1 - z * z), np.sin(turn) * np.sqrt(1 - z * z), z], 1)
    directions = np.tile(spokes, (len(places), 1))
    hits = rays.cast(np.repeat(places, INSIDE_RAYS, 0), directions)
    facing = (mesh.normals[mesh.faces[hits.face, 0]] * directions).sum(1) < 0
    return ((hits.face >= 0) & facing).reshape(-1, INSIDE_RAYS).mean(1)


def _route(shape: Shape) -> NDArray[np.float64]:
    t = np.arange(len(shape.route))
    spline = make_interp_spline(t, shape.route, k=min(3, len(t) - 1))
    return np.asarray(spline(np.linspace(0, t[-1], 300)))


def _extended(travelled: NDArray[Any], column: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The curve with a straight line of 100 mm added at its end, to look along."""
    slope = (column[-1] - column[-30]) / (travelled[-1] - travelled[-30])
    return np.append(travelled, travelled[-1] + 100.0), np.append(column, column[-1] + 100.0 * slope)


@dataclass(frozen=True)
class _Walls:
    """The vertices of a mesh as a tree, and the mesh."""

    tree: Any
    mesh: Mesh

    @cached_property
    def rays(self) -> RayScene:
        """What rays are cast into."""
        return RayScene(self.mesh.vertices, self.mesh.faces)

    def are_behind(self, places: NDArray[Any], cosine: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether places (N, 3) are behind a wall; ``cosine`` (N,): see :data:`BEHIND`.

        At the rim of a fold the nearest normal may point away from a free place, so that rays decide.
        """
        found: NDArray[np.bool_] = cosine < BEHIND
        if found.any():
            found[found] = inside_share(self.mesh, places[found], self.rays) < MIN_INSIDE
        return found


def _push_from_walls(line: NDArray[Any], walls: _Walls, clearance: float) -> NDArray[np.float64]:
    """Move a curve away from walls nearer than ``clearance``, and back where it is behind one, smoothly."""
    line = np.asarray(line, np.float64).copy()
    for _ in range(60):
        distance, index = walls.tree.query(line)
        away = (line - walls.tree.data[index]) / np.maximum(distance, 1e-6)[:, None]
        normals = walls.mesh.normals[index]
        is_behind = walls.are_behind(line, (away * normals).sum(1))
        short = np.maximum(np.where(is_behind, clearance + distance, clearance - distance), 0.0)
        if not short.any():
            break
        away[is_behind] = normals[is_behind]
        push = gaussian_filter1d(away * short[:, None], 2.0, axis=0, mode="nearest")
        line += 0.7 * push
    return line


def _look_along(forward: NDArray[Any], roll: NDArray[Any]) -> NDArray[np.float64]:
    """World_from_cam rotations (N, 3, 3) that look along ``forward`` (N, 3), rolled about it."""
    z = forward / np.linalg.norm(forward, axis=1, keepdims=True)
    # y points down; a scope that looks along it keeps the x axis of the frame before.
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    y = np.cross(z, x)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * x + s * y, c * y - s * x, z], 2)
