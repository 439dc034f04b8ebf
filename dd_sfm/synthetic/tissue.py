"""The appearance of mucosa: blood content, vessels, and the fine relief of the wet surface."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.synthetic.noise import NoiseField, periodic_noise, smooth_series
from dd_sfm.synthetic.settings import TissueSettings

TILE = 1024
LEVELS = 4
TREE_PX = 10.0
"""Width of a tree's stem on the tile."""
TREE_GENERATIONS = 3
"""How often a tree forks from its stem to its twigs."""
PALE = np.array([0.88, 0.67, 0.55], np.float32)
"""Albedo of tissue without blood."""
ABSORPTION = np.array([0.13, 1.0, 1.05], np.float32)
"""Absorption of red, green and blue by a unit of blood."""


@dataclass(frozen=True)
class Tissue:
    """``textures``: pyramid of tiles (S, S, 5): vessels, capillaries, mottle, and the relief's two slopes.

    ``blood``, ``coverage``, ``blue``: slow variation per vertex (V,).
    """

    textures: tuple[NDArray[np.float32], ...]
    period: float
    blood: NDArray[np.float32]
    coverage: NDArray[np.float32]
    blue: NDArray[np.float32]
    settings: TissueSettings


def make_tissue(vertices: NDArray[Any], settings: TissueSettings, rng: np.random.Generator) -> Tissue:
    """Draw textures, and spread slow variation over the vertices (V, 3)."""
    if settings.trees:
        vessels = draw_trees(rng, settings.trees)
    else:
        vessels = draw_vessels(rng, trees=9, width_px=13.0, steps=150)
    capillaries = draw_vessels(rng, trees=150, width_px=3.2, steps=34)
    mottle = periodic_noise(rng, (TILE, TILE), (6, 120))
    relief = periodic_noise(rng, (TILE, TILE), (8, 60))
    slope = [(np.roll(relief, -2, axis) - np.roll(relief, 2, axis)) for axis in (1, 0)]
    slopes = [s / s.std() for s in slope]
    base = np.stack([vessels, capillaries, mottle, *slopes], -1).astype(np.float32)
    big, small = NoiseField(rng, 60.0 * settings.texture_mm / 20, (1, 5)), NoiseField(rng, 0.5 * settings.texture_mm)
    where = NoiseField(rng, 1.6 * settings.texture_mm, (1, 4))
    tint = NoiseField(rng, 1.4 * settings.texture_mm, (1, 3))
    blood = settings.blood + settings.patches * (big(vertices) + 0.35 * small(vertices))
    threshold = float(np.quantile(where.tile, 1 - settings.coverage))
    coverage = np.clip((where(vertices) - threshold) / 0.7 + 0.2, 0, 1)
    blue = np.clip(tint(vertices) - 1.1, 0, 1)
    return Tissue(pyramid(base), settings.texture_mm, np.clip(blood, 0.15, 3.0), coverage, blue, settings)


def draw_vessels(rng: np.random.Generator, *, trees: int, width_px: float, steps: int) -> NDArray[np.float32]:
    """Branching vessels on a tile that repeats: darkness (TILE, TILE) in [0, 1]."""
    canvas = np.zeros((3 * TILE, 3 * TILE), np.float32)
    scale = 2.0**4
    for _ in range(trees):
        open_branches = [(rng.uniform(TILE, 2 * TILE, 2), rng.uniform(0, 2 * np.pi), width_px * rng.uniform(0.5, 1), 0)]
        layer = np.zeros_like(canvas) if width_px > 6 else canvas
        while open_branches:
            place, heading, width, depth = open_branches.pop()
            points, turn = [place], 0.0
            for _ in range(int(steps * rng.uniform(0.4, 1) / (1 + 0.5 * depth))):
                turn = 0.85 * turn + rng.normal(0, 0.06)
                heading += turn
                place = np.clip(place + 6.0 * np.array([np.cos(heading), np.sin(heading)]), 0, 3 * TILE - 1)
                points.append(place)
                if depth < 3 and width > 1.2 and rng.random() < 0.022:
                    side = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
                    open_branches.append((place, side, width * rng.uniform(0.45, 0.75), depth + 1))
            curve = np.round(np.array(points) * scale).astype(np.int32)
            darkness = 0.35 + 0.65 * width / width_px
            cv2.polylines(layer, [curve], False, darkness, max(1, round(width)), cv2.LINE_AA, 4)
        if layer is not canvas:
            np.maximum(canvas, layer, out=canvas)
    return _wrap_to_tile(canvas, 0.22 * width_px)


def draw_trees(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Trees of thin vessels that taper and fork, as under a bladder's mucosa: darkness (TILE, TILE) in [0, 1]."""
    canvas = np.zeros((3 * TILE, 3 * TILE), np.float32)
    for root in _spread_points(rng, count):
        open_branches = [(root + TILE, rng.uniform(0, 2 * np.pi), TREE_PX * rng.uniform(0.7, 1.1), 0)]
        while open_branches:
            place, axis, width, depth = open_branches.pop()
            steps = int(rng.uniform(24, 46) * 0.8**depth)
            # The way winds about its axis and cannot curl into a loop.
            wind = 0.35 * smooth_series(rng, steps, 4.0, 1)[:, 0]
            heading = axis + wind + rng.normal(0, 0.012) * np.arange(steps)
            way = place + 6.0 * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
            thick = width * np.linspace(1.0, 0.8, steps)
            if not depth:
                # A stem rises from below.
                thick *= np.clip(np.linspace(0.1, 3.0, steps), 0, 1)
            if depth == TREE_GENERATIONS:
                thick *= np.linspace(1.0, 0.2, steps)
            _draw_vessel(canvas, np.vstack([place, way]), thick)
            if depth == TREE_GENERATIONS:
                continue
            spread = rng.uniform(0.5, 1.0)
            share = rng.uniform(0.3, 0.7)
            ends = [
                (steps - 1, share * spread, 0.95 - 0.2 * share),
                (steps - 1, (share - 1) * spread, 0.75 + 0.2 * share),
            ]
            if depth and rng.random() < 0.5:
                ends.append((int(steps * rng.uniform(0.3, 0.8)), rng.choice([-1, 1]) * rng.uniform(0.6, 1.1), 0.5))
            open_branches += [(way[k], heading[k] + turn, thick[k] * part, depth + 1) for k, turn, part in ends]
    return _wrap_to_tile(canvas, 0.9)


def _wrap_to_tile(canvas: NDArray[np.float32], blur_px: float) -> NDArray[np.float32]:
    """What is drawn on 3 x 3 tiles, on one that repeats without a seam, blurred."""
    tile = canvas.reshape(3, TILE, 3, TILE).max((0, 2))
    return cv2.GaussianBlur(np.tile(tile, (3, 3)), (0, 0), blur_px)[TILE : 2 * TILE, TILE : 2 * TILE]


def _spread_points(rng: np.random.Generator, count: int) -> list[NDArray[np.float64]]:
    """Places (2,) on the tile, each the one of 20 random places that is farthest from those before."""
    places: list[NDArray[np.float64]] = []
    for _ in range(count):
        tried = rng.uniform(0, TILE, (20, 2))
        away = np.full(20, np.inf)
        for other in places:
            gap = np.abs(tried - other)
            away = np.minimum(away, np.hypot(*np.minimum(gap, TILE - gap).T))
        places.append(tried[int(away.argmax())])
    return places


def _draw_vessel(canvas: NDArray[np.float32], way: NDArray[Any], thick: NDArray[Any]) -> None:
    """Draw a vessel along ``way`` (N + 1, 2), of width ``thick`` (N,) pixels; thin ones are paler."""
    for k, width in enumerate(thick):
        ends = np.round(way[k : k + 2] * 16).astype(np.int32)
        darkness = 0.3 + 0.7 * min(1.0, width / TREE_PX)
        cv2.line(canvas, ends[0].tolist(), ends[1].tolist(), darkness, max(1, round(width)), cv2.LINE_AA, 4)


def pyramid(base: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Halved tiles (TILE / 2^k, ..., C), so that far walls do not flicker."""
    levels = [base]
    for _ in range(LEVELS - 1):
        a = levels[-1]
        levels.append(np.ascontiguousarray(a.reshape(len(a) // 2, 2, len(a) // 2, 2, -1).mean((1, 3))))
    return tuple(levels)


def sample_texture(texture: NDArray[np.float32], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float32]:
    """Bilinear values (N, C) of a repeating tile at u, v (N,) in periods."""
    size, count, row = len(texture), len(u), 512
    # OpenCV's remap takes no column of more than 32767 rows: fold the list into rows of 512.
    maps = []
    for value in (u, v):
        folded = np.zeros((count + row - 1) // row * row, np.float32)
        folded[:count] = (value % 1.0) * size - 0.5
        maps.append(folded.reshape(-1, row))
    parts = [
        cv2.remap(texture[..., a:b], maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).reshape(-1, b - a)
        for a, b in ((0, 3), (3, texture.shape[2]))
    ]
    return np.concatenate(parts, 1)[:count]


def sample_tissue(
    tissue: Tissue, points: NDArray[Any], normals: NDArray[Any], footprint: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Triplanar textures.

    Args:
        tissue: The tissue.
        points: (N, 3) in mm.
        normals: (N, 3), smooth.
        footprint: Size of a pixel on the surface (N,) in mm.

    Returns:
        Vessels, capillaries and mottle (N, 3); slope of the relief in space (N, 3).
    """
    weight = np.abs(normals) ** 8
    weight /= weight.sum(1, keepdims=True)
    colour = np.zeros((len(points), 3), np.float32)
    slope = np.zeros((len(points), 3), np.float32)
    texel = tissue.period / TILE
    level = np.clip(np.log2(np.maximum(footprint / texel, 1.0)).round(), 0, LEVELS - 1).astype(int)
    scaled = (points / tissue.period).astype(np.float32)
    for axis, (a, b) in enumerate(((1, 2), (2, 0), (0, 1))):
        for k, texture in enumerate(tissue.textures):
            chosen = np.flatnonzero((level == k) & (weight[:, axis] > 0.02))
            if not len(chosen):
                continue
            values = sample_texture(texture, scaled[chosen, a] + 0.37 * axis, scaled[chosen, b])
            w = weight[chosen, axis, None]
            colour[chosen] += w * values[:, :3]
            slope[chosen, a] += w[:, 0] * values[:, 3]
            slope[chosen, b] += w[:, 0] * values[:, 4]
    return colour, slope


def albedo(tissue: Tissue, colour: NDArray[Any], slow: NDArray[Any]) -> NDArray[np.float32]:
    """Reflectance (N, 3) RGB by absorption in blood.

    Args:
        tissue: The tissue.
        colour: Vessels, capillaries, mottle (N, 3).
        slow: Blood, coverage, blue (N, 3), interpolated from the vertices.
    """
    s = tissue.settings
    blood = slow[:, 0] + s.mottle * colour[:, 2]
    blood = blood + slow[:, 1] * (s.vessels * colour[:, 0] + s.capillaries * colour[:, 1])
    base = PALE * np.exp(-ABSORPTION * np.maximum(blood, 0.05)[:, None])
    return base * (1 - slow[:, 2:3] * np.array([0.22, 0.06, 0.0], np.float32))
