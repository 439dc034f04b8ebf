"""Where registration may start: around what is given, or from a search of the whole surface."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

from dd_sfm.cameras import rotation_angles_deg
from dd_sfm.registration.moving import Moving
from dd_sfm.registration.target import Target
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray

TURNS = 800
"""Rotations of a search, some 25 degrees from one another."""
SEARCH_POINTS, FIRST_POINTS = 120, 30
STEP_SHARE = 0.5
"""Places of a search are this share of the cloud's radius apart."""
SCALES = 7
SMALLEST, LARGEST = 0.18, 1.1
"""The cloud's radius in a search, as a share of the surface's: a video shows a part of it."""
CELLS, MOST_CELLS = 6, 160
"""A grid of distances has so many cells a radius of the cloud, and at most so many along the surface."""
REACH = 2.2
"""Points further from the cloud's centre than so many radii are taken to lie there."""
BEST = 3
"""Places of each rotation and scale that are remembered."""
CAP_SHARE = 0.25
"""A point's distance counts as at most this share of the cloud's radius."""
FEW = 25
"""Points by which places are told apart."""
APART_SHARE = 0.3
"""Starts that lie closer to a better one than this share of the cloud's radius, on average, are left out."""


@dataclass(frozen=True)
class Range:
    """How far from the truth a start may be: ``shift`` in the surface's unit, ``turn_deg``, and ``growth``, a factor
    that its scale may be too small or too large by.
    """  # fmt: skip

    shift: float = 15.0
    turn_deg: float = 25.0
    growth: float = 1.25


def inside(place: Similarity, start: Similarity, cloud: Moving, within: Range, slack: float = 1.2) -> bool:
    """Whether a place is no further from a start than a range, with some slack, says that the truth may be."""
    centre = cloud.centre[None]
    away = float(np.linalg.norm(place.points(centre) - start.points(centre)))
    turn = float(rotation_angles_deg((place.rotation @ start.rotation.T)[None])[0])
    growth = abs(float(np.log(place.scale / start.scale)))
    most = slack * np.log(within.growth) + 0.01
    return bool(away <= slack * within.shift and turn <= slack * within.turn_deg and growth <= most)


def around(
    start: Similarity, cloud: Moving, within: Range, count: int, seed: int, *, scale_known: bool
) -> list[Similarity]:
    """A start and others around it, spread evenly over a range.

    Args:
        start: The first one.
        cloud: What is moved: it turns and grows about its centre.
        within: The range.
        count: How many, the first included.
        seed: Of their choice.
        scale_known: Whether all keep the start's scale.
    """
    values = qmc.Sobol(7, seed=seed).random(1 << max(count - 1, 1).bit_length())[: max(count - 1, 0)]
    centre = start.points(cloud.centre[None])[0]
    found = [start]
    for row in values:
        turn = Rotation.from_rotvec(np.radians(within.turn_deg) * _in_ball(row[:3])).as_matrix()
        growth = 1.0 if scale_known else float(within.growth ** (2 * row[6] - 1))
        place = centre + within.shift * _in_ball(row[3:6])
        scale, rotation = growth * start.scale, turn @ start.rotation
        found.append(Similarity(scale, rotation, place - scale * rotation @ cloud.centre))
    return found


def _in_ball(uniform: FloatArray) -> FloatArray:
    """Three numbers in [0, 1] as a place in the unit ball, evenly by volume."""
    height, angle = 2 * uniform[0] - 1, 2 * np.pi * uniform[1]
    across = np.sqrt(max(0.0, 1 - height**2))
    return np.asarray(np.cbrt(uniform[2]) * np.array([across * np.cos(angle), across * np.sin(angle), height]))


@dataclass(frozen=True)
class DistanceGrid:
    """Distances from a surface at the nodes of a grid, for clouds of a radius.

    ``values`` flat, at most ``CAP_SHARE`` of that radius; ``shape`` of the grid; ``low`` (3,) its first node; ``step``
    between nodes; ``places``: indices of the nodes about which a cloud lies wholly inside the grid.
    """

    values: NDArray[np.float32]
    shape: tuple[int, ...]
    low: FloatArray
    step: float
    places: NDArray[np.int64]

    @classmethod
    def of(cls, target: Target, radius: float) -> "DistanceGrid":
        """The grid around a surface for clouds of a radius."""
        step = max(radius / CELLS, float(np.ptp(target.xyz, axis=0).max()) / MOST_CELLS)
        margin = int(np.ceil(REACH * radius / step)) + 1
        low = target.xyz.min(0) - margin * step
        cell = np.round((target.xyz - low) / step).astype(np.int64)
        empty = np.ones(cell.max(0) + margin + 1, bool)
        empty[tuple(cell.T)] = False
        stride = max(1, round(STEP_SHARE * radius / step))
        axes = [np.arange(margin, size - margin, stride) for size in empty.shape]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        distance = np.minimum(distance_transform_edt(empty) * step, CAP_SHARE * radius)
        flat = np.ravel_multi_index(tuple(places.T), empty.shape)
        return cls(distance.astype(np.float32).ravel(), empty.shape, low, step, flat)

    def lowest(self, points: FloatArray, count: int) -> list[tuple[float, FloatArray]]:
        """The places (3,) about which points (N, 3) lie nearest to the surface, with their mean distance.

        All places are tried with some of the points, and the better ones with all.
        """
        offset = np.round(points / self.step).astype(np.int64) @ [self.shape[1] * self.shape[2], self.shape[2], 1]
        values, places = self.values, self.places
        for some in (offset[:: max(1, len(offset) // FIRST_POINTS)], offset):
            total = np.zeros(len(places), np.float32)
            for step in some.tolist():
                total += values[places + step]
            left = min(len(places), count if some is offset else max(count, len(places) // 8))
            best = np.argpartition(total, left - 1)[:left]
            places, total = places[best], total[best]
        nodes = np.stack(np.unravel_index(places, self.shape), 1)
        cost = total / len(offset)
        return [(float(c), self.low + self.step * node) for c, node in zip(cost, nodes, strict=True)]


def search(cloud: Moving, target: Target, scale: float | None, count: int, seed: int) -> list[Similarity]:
    """The starts anywhere on a surface at which a cloud lies nearest to it.

    Args:
        cloud: A few hundred points or more.
        target: The surface.
        scale: Of the cloud's unit in the surface's, None where it is open.
        count: How many starts at most.
        seed: Of the rotations.
    """
    radii = np.geomspace(SMALLEST, LARGEST, SCALES) * target.radius if scale is None else [scale * cloud.radius]
    unit = (cloud.xyz[:: max(1, len(cloud.xyz) // SEARCH_POINTS)] - cloud.centre) / cloud.radius
    unit = unit * np.minimum(1.0, REACH / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12))
    turns = Rotation.random(TURNS, np.random.default_rng(seed)).as_matrix()
    chosen: list[Similarity] = []
    for radius in map(float, radii):
        grid, growth = DistanceGrid.of(target, radius), radius / cloud.radius
        found: list[tuple[float, Similarity]] = []
        for turn in turns:
            for cost, place in grid.lowest(radius * unit @ turn.T, BEST):
                found.append((cost, Similarity(growth, turn, place - growth * turn @ cloud.centre)))
        found.sort(key=lambda pair: pair[0])
        # Of each scale the same number: costs of a smaller cloud do not compare with those of a larger one.
        chosen += distinct([at for _, at in found[: 20 * count]], cloud, max(1, count // len(radii)))
    return chosen


def distinct(places: list[Similarity], cloud: Moving, count: int, share: float = APART_SHARE) -> list[Similarity]:
    """The first ``count`` transforms that put a cloud to places of its own, of a list with the best first."""
    few = cloud.xyz[:: max(1, len(cloud.xyz) // FEW)]
    kept: list[Similarity] = []
    where = np.zeros((count, len(few), 3))
    for at in places:
        points = at.points(few)
        away = np.linalg.norm(where[: len(kept)] - points, axis=2).mean(1)
        if (away > share * at.scale * cloud.radius).all():
            where[len(kept)] = points
            kept.append(at)
        if len(kept) == count:
            break
    return kept
