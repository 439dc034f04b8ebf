"""What makes structure from motion fail in real videos: moving tissue, floating debris, smoke and blur."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.synthetic.lens import Optics
from dd_sfm.synthetic.noise import NoiseField
from dd_sfm.synthetic.path import CameraPath

SMOKE_PERIOD_MM, SMOKE_DRIFT_MM = 18.0, 0.25
"""Size of the tile that wisps of smoke repeat in, and how far they float a frame."""
SMOKE_DEPTHS_MM = (1.5, 3.0, 5.0, 8.0)
"""Where a ray meets smoke, unless tissue is nearer."""
SMOKE_GREY = 0.55
"""Exposed light that thick smoke throws back."""
HIDING = 0.5
"""Smoke that takes more of the tissue's light hides it."""


@dataclass(frozen=True)
class Debris:
    """Floating particles: ``place`` (K, 3) at frame 0, ``drift`` (K, 3) mm a frame, ``radius`` (K,) mm."""

    place: NDArray[np.float64]
    drift: NDArray[np.float64]
    radius: NDArray[np.float64]

    @staticmethod
    def scatter(rng: np.random.Generator, count: int, centre: NDArray[Any], rotation: NDArray[Any]) -> "Debris":
        """Scatter particles in front of positions on the camera path."""
        at = rng.integers(0, len(centre), count)
        ahead = rng.uniform(3, 14, (count, 1)) * rotation[at][:, :, 2]
        aside = rng.uniform(-0.5, 0.5, (count, 3)) * rng.uniform(2, 8, (count, 1))
        drift = rng.normal(0, 0.03, (count, 3))
        return Debris(centre[at] + ahead + aside - at[:, None] * drift, drift, rng.uniform(0.05, 0.22, count))


@dataclass(frozen=True)
class Smoke:
    """Wisps that float in the cavity for a moment in the middle of the clip.

    ``wisps``: their density in space, None for no smoke; ``drift`` (3,) mm a frame; ``strength``: share of the tissue's
    light that thick ones take at their height.
    """

    wisps: NoiseField | None
    drift: NDArray[np.float64]
    strength: float

    @staticmethod
    def plan(rng: np.random.Generator, strength: float) -> "Smoke":
        """Plan the smoke of a clip."""
        if not strength:
            return Smoke(None, np.zeros(3), 0.0)
        way = rng.normal(size=3)
        drift = SMOKE_DRIFT_MM * way / np.linalg.norm(way)
        return Smoke(NoiseField(rng, SMOKE_PERIOD_MM, (1, 6)), drift, strength)

    def opacity(
        self, centre: NDArray[Any], directions: NDArray[Any], depth: NDArray[Any], frame: int, count: int
    ) -> NDArray[np.float32]:
        """Share (M,) of the tissue's light that smoke takes in a frame.

        Args:
            centre: Of the camera (3,).
            directions: Of rays (M, 3), in the world, of length 1 along the optical axis.
            depth: Of the tissue (M,) in mm; 0 for none.
            frame: Number of the frame.
            count: Frames of the clip.
        """
        height = self.strength * pulse(frame, count, 0.5)
        if self.wisps is None or not height:
            return np.zeros(len(directions), np.float32)
        end = np.where(depth > 0, depth, np.inf)
        met = np.zeros(len(directions))
        for distance in SMOKE_DEPTHS_MM:
            places = centre - frame * self.drift + np.minimum(distance, end)[:, None] * directions
            met += self.wisps(places) / len(SMOKE_DEPTHS_MM)
        return np.asarray(height * np.clip(0.75 + 0.5 * met, 0, 1), np.float32)


def deformation_modes(rng: np.random.Generator, vertices: NDArray[Any]) -> NDArray[np.float32]:
    """Three smooth displacement fields (3, V, 3) of unit variance, which the tissue's deformation is a sum of."""
    fields = [[NoiseField(rng, 60.0, (1, 2)) for _ in range(3)] for _ in range(3)]
    return np.stack([np.stack([f(vertices) for f in mode], 1) for mode in fields]).astype(np.float32)


def deform(vertices: NDArray[Any], modes: NDArray[Any], frame: int, amplitude: float) -> NDArray[np.float32]:
    """Displace vertices (V, 3) by about ``amplitude`` mm, as by breathing and pulse; none at frame 0."""
    if amplitude <= 0:
        return vertices
    weights = [np.sin(2 * np.pi * frame / period) for period in (90.0, 61.0, 23.0)]
    strength = amplitude / 2 * np.array([1.0, 0.7, 0.25])
    return (vertices + np.einsum("m,mvc->vc", strength * weights, modes)).astype(np.float32)


def pulse(frame: int, count: int, place: float) -> float:
    """A bump in time, 1 at ``place`` (share of the clip) and 0 from a tenth of the clip away."""
    distance = abs(frame / max(count - 1, 1) - place) / 0.1
    return float(0.5 + 0.5 * np.cos(np.pi * distance)) if distance < 1 else 0.0


def draw_debris(
    light: NDArray[np.float32],
    depth: NDArray[Any],
    optics: Optics,
    debris: Debris,
    path: CameraPath,
    frame: int,
    exposure: float,
) -> NDArray[np.bool_]:
    """Draw particles into linear light (H, W, 3) of the field's box, in place; returns what they cover (H, W)."""
    covered = np.zeros(light.shape[:2], bool)
    local = (debris.place + frame * debris.drift - path.centre[frame]) @ path.rotation[frame]
    y0, _, x0, _ = optics.box
    places, depths = optics.lens.project(local)
    for (u, v), z, radius in zip(places - [x0, y0], depths, debris.radius, strict=True):
        if z < 1.5:
            continue
        size = max(0.7, radius / z * optics.lens.pinhole.fx)
        inside = -size < u < light.shape[1] + size and -size < v < light.shape[0] + size
        if not inside or not 0 <= int(v) < len(depth) or not 0 <= int(u) < depth.shape[1] or depth[int(v), int(u)] < z:
            continue
        blob = np.zeros(light.shape[:2], np.float32)
        cv2.circle(blob, (round(16 * u), round(16 * v)), round(16 * size), 1.0, -1, cv2.LINE_AA, 4)
        blob = cv2.GaussianBlur(blob, (0, 0), max(0.6, 0.35 * size))
        brightness = np.array([1.0, 0.93, 0.80], np.float32) * np.float32(min(2.5, 60.0 / z**2) / exposure)
        light += 0.85 * blob[..., None] * (brightness - light)
        covered |= blob > 0.08
    return covered
