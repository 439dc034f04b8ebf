"""The shapes of hollow organs, as distance fields (positive in free space, zero on the wall) or as tubes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from dd_sfm.synthetic.mesh import Mesh, mesh_from_field, mesh_from_tube
from dd_sfm.synthetic.noise import NoiseField, smooth_series
from dd_sfm.synthetic.settings import Organ


@dataclass(frozen=True)
class Shape:
    """An organ.

    ``mesh``: its wall; ``route`` (M, 3): places in order along the way; ``ahead``: how far in front of the scope
    the organ is looked at; ``speed``: mm a frame.
    """

    mesh: Mesh
    route: NDArray[np.float64]
    ahead: float
    speed: float


def smooth_min(a: NDArray[Any], b: NDArray[Any], k: float) -> NDArray[Any]:
    """Polynomial smooth minimum (Quilez): the edge between two bodies is rounded over ``k`` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.minimum(a, b) - h * h * k / 4


@dataclass(frozen=True)
class _Turbinate:
    """A shelf of tissue that hangs from the side wall along z and curls towards its lower edge."""

    side: float
    start: float
    end: float
    root: tuple[float, float]
    reach: float
    thickness: float
    drop: float

    def distance(self, p: NDArray[Any]) -> NDArray[Any]:
        """Positive outside the shelf."""
        t = np.clip((p[:, 2] - self.start) / (self.end - self.start), 0.0, 1.0)
        # A bulbous head in front, thinner behind.
        size = self.thickness * (1.15 - 0.45 * t)
        best = np.full(len(p), np.inf)
        previous = None
        for u in np.linspace(0, 1, 5):
            x = self.side * (self.root[0] - self.reach * np.sin(u * 1.9) * (1.0 - 0.25 * t))
            y = self.root[1] + self.drop * u * u + 1.2 * np.sin(3 * t)
            node = np.stack([x + 0 * t, y + 0 * t], 1)
            if previous is not None:
                best = np.minimum(best, _segment(p[:, :2], previous, node))
            previous = node
        past = np.maximum(np.maximum(self.start - p[:, 2], p[:, 2] - self.end), 0.0)
        return np.hypot(best, past) - size


def _segment(p: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    along = np.clip(((p - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-9), 0, 1)
    return np.linalg.norm(p - a - along[:, None] * (b - a), axis=1)


def sinus(rng: np.random.Generator) -> Shape:
    """A nasal cavity: septum on one side, two or three turbinates on the other."""
    half = np.array([rng.uniform(7.5, 9.0), rng.uniform(15.5, 17.5), 36.0])
    centre = np.array([0.0, 0.0, 18.0])
    warp = [NoiseField(rng, 70.0, (1, 2)) for _ in range(3)]
    swell, wrinkle = NoiseField(rng, 24.0, (1, 4)), NoiseField(rng, (9.0, 40.0, 9.0), (1, 4))
    where = NoiseField(rng, 40.0, (1, 3))
    side = rng.choice([-1.0, 1.0])
    wall = half[0] + 0.6
    shelves = [
        _Turbinate(
            side, rng.uniform(3, 7), 60.0, (wall, rng.uniform(3, 5)), rng.uniform(6, 7.5), rng.uniform(2.2, 2.9), 6.0
        ),
        _Turbinate(
            side, rng.uniform(11, 16), 60.0, (wall, rng.uniform(-7, -5)), rng.uniform(6, 8), rng.uniform(1.6, 2.2), 5.5
        ),
        _Turbinate(side, rng.uniform(24, 30), 60.0, (wall, -13.0), rng.uniform(4, 6), rng.uniform(1.3, 1.8), 4.0),
    ]
    bumps = [
        (np.array([-side * wall, rng.uniform(-11, 11), rng.uniform(4, 34)]), rng.uniform(1.8, 4.0)) for _ in range(3)
    ] + [(np.array([rng.uniform(-6, 6), s * 17.0, rng.uniform(4, 40)]), rng.uniform(2.5, 5.0)) for s in (-1.0, 1.0)]

    def free(points: NDArray[Any]) -> NDArray[Any]:
        p = points + 1.6 * np.stack([w(points) for w in warp], 1)
        q = np.abs(p - centre) - half + 4.0
        box = np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0) - 4.0
        d = -box
        for shelf in shelves:
            d = smooth_min(d, shelf.distance(p), 2.2)
        for place, radius in bumps:
            d = smooth_min(d, np.linalg.norm((p - place) * [1.0, 0.8, 0.55], axis=1) - radius, 2.2)
        rough = np.clip(where(points), 0, 1.5)
        return d + 0.20 * swell(points) + 0.10 * rough * wrinkle(points)

    lateral = -side * rng.uniform(1.0, 2.5)
    route = np.array(
        [[lateral + side, 1.0, -12], [lateral, rng.uniform(-3, 3), 0], [lateral, 0, 14], [lateral, -2, 26]]
    )
    low, high = centre - half - 7.0, centre + half + 7.0
    return Shape(mesh_from_field(free, low, high, 0.3), route, 16.0, 0.14)


def _tube(nodes: NDArray[np.float64], step: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A smooth centre line (S, 3) every ``step`` mm, its length (S,), and two axes across (S, 3) that do not twist."""
    spline = CubicSpline(np.arange(len(nodes)), nodes)
    fine = spline(np.linspace(0, len(nodes) - 1, max(4000, 500 * len(nodes))))
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    length = np.arange(0, travelled[-1], step)
    line = np.stack([np.interp(length, travelled, c) for c in fine.T], 1)
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.zeros_like(line)
    current = np.array([1.0, 0, 0])
    for k, direction in enumerate(tangent):
        current = current - direction * (current @ direction)
        current /= np.linalg.norm(current)
        across[k] = current
    return line, length, across, np.cross(tangent, across)


def colon(rng: np.random.Generator, way: float = 0.0) -> Shape:
    """A colon: three bands along it, semilunar folds between them, and a blind far end.

    Args:
        rng: Of the random choices.
        way: Least length of the scope's way in it in mm; of 200 mm of colon it takes some 106.
    """
    count = max(8, 1 + math.ceil((way + 14) / (0.6 * 25)))
    bend = rng.uniform(-11, 11, (count, 2))
    nodes = np.cumsum(np.column_stack([bend, np.full(count, 25.0)]), axis=0) - np.array([0, 0, 46.0])
    line, s, across, up = _tube(nodes, 0.35)
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    radius = rng.uniform(17, 21)
    wall = radius * (1 + 0.07 * np.cos(3 * angle)[None] + 0.05 * np.sin(s / 23)[:, None])
    place = rng.uniform(0, 9)
    while place < s[-1]:
        height, width, middle = rng.uniform(3.0, 7.5), rng.uniform(1.8, 3.2), rng.uniform(-np.pi, np.pi)
        away = 1 - np.cos(angle - middle)
        # A fold bends along the tube and fades out towards its ends.
        bent = s[:, None] - place - 3.0 * away[None]
        wall -= height * np.exp(-(away**2) / (2 * rng.uniform(0.5, 1.2) ** 2)) * np.exp(-((bent / width) ** 2))
        place += rng.uniform(9, 19)
    end = np.clip((s - s[-1] + 20.0) / 20.0, 0, 1)
    wall = np.maximum(wall, 0.35 * radius) * np.sqrt(1 - end**2)[:, None]
    outward = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    points = line[:, None] + wall[..., None] * outward
    swell, fine = NoiseField(rng, 60.0, (1, 4)), NoiseField(rng, 20.0, (1, 5))
    rough = 0.55 * swell(points.reshape(-1, 3)) + 0.12 * fine(points.reshape(-1, 3))
    points += rough.reshape(wall.shape)[..., None] * outward * np.sqrt(1 - end**2)[:, None, None]
    offset = across * rng.uniform(-3, 3) + up * rng.uniform(-3, 3)
    route = (line + offset)[(s > 14) & (s < 0.6 * s[-1])]
    return Shape(mesh_from_tube(points.astype(np.float32)), route[::30], 34.0, 0.34)


def bladder(rng: np.random.Generator) -> Shape:
    """A bladder, half filled: an uneven ellipsoid with ridges (trabeculae) and two ureteral mounds."""
    axes = np.array([rng.uniform(26, 32), rng.uniform(22, 27), rng.uniform(26, 32)])
    swell, ridge, fine = NoiseField(rng, 60.0, (1, 3)), NoiseField(rng, 44.0, (1, 3)), NoiseField(rng, 14.0, (1, 4))
    mounds = [(np.array([s * 9.0, axes[1] * 0.8, axes[2] * 0.3]), rng.uniform(2.5, 4)) for s in (-1.0, 1.0)]

    def free(points: NDArray[Any]) -> NDArray[Any]:
        norm = np.linalg.norm(points / axes, axis=1)
        d = (1 - norm) * axes.min()
        for place, radius in mounds:
            d = smooth_min(d, np.linalg.norm((points - place) * [1, 1, 0.7], axis=1) - radius, 5.0)
        ridges = np.exp(-((ridge(points) / 0.45) ** 2))
        return d + 1.6 * swell(points) - 0.9 * ridges + 0.10 * fine(points)

    turn = np.linspace(0, rng.uniform(1.2, 1.8), 8) + rng.uniform(0, 2 * np.pi)
    wobble = 2.0 * smooth_series(rng, 8, 2.0, 3)
    route = np.column_stack(
        [0.38 * axes[0] * np.cos(turn), 0.3 * axes[1] * np.sin(2 * turn), 0.38 * axes[2] * np.sin(turn)]
    )
    return Shape(mesh_from_field(free, -axes - 5, axes + 5, 0.5), route + wobble, 12.0, 0.26)


SHAPES: dict[Organ, Callable[[np.random.Generator], Shape]] = {"sinus": sinus, "colon": colon, "bladder": bladder}


def make_shape(organ: Organ, rng: np.random.Generator, way: float) -> Shape:
    """An organ's shape; ``way``: least length in mm of the scope's way through a colon, 0 for what is usual."""
    return colon(rng, way) if way and organ == "colon" else SHAPES[organ](rng)
