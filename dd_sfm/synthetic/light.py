"""Light from the scope's tip: fall-off, shadows, scattering and reflections on the wet surface."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dd_sfm.synthetic.settings import LightSettings

WRAP = np.array([0.24, 0.13, 0.09], np.float32)
"""Wrap lighting: how far red, green and blue light scatters past the terminator inside tissue."""
ROUGHNESS = 0.14
CRESCENT = np.radians([200, 225, 250, 280, 305, 330])
"""Where around the lens the fibres end whose reflections are drawn: they make the U of real scopes."""


class CastsShadows(Protocol):
    """What can be between a lamp and a place."""

    def distance(self, origin: NDArray[Any], directions: NDArray[Any], /) -> NDArray[np.float32]:
        """Distance (N,) from an origin (3,) to the first hit, in lengths of directions (N, 3); inf for none."""
        ...


def irradiance(
    scene: CastsShadows,
    points: NDArray[Any],
    normals: NDArray[Any],
    camera: NDArray[Any],
    rotation: NDArray[Any],
    visibility: NDArray[Any],
    albedo: NDArray[Any],
    settings: LightSettings,
    soften: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[np.float32]:
    """Diffusely reflected light (N, 3) towards the camera.

    Args:
        scene: Casts shadows.
        points: (N, 3) in mm.
        normals: (N, 3), with relief.
        camera: Camera centre (3,).
        rotation: World_from_cam (3, 3).
        visibility: Ambient visibility (N,).
        albedo: (N, 3).
        settings: Lights.
        soften: Blurs values (N,) in the image: the lights are no points.
    """
    total = np.zeros((len(points), 3), np.float32)
    for angle in (np.radians(200), np.radians(340)):
        lamp = camera + rotation @ (settings.offset * np.array([np.cos(angle), np.sin(angle), 0.0]))
        ray = points - lamp.astype(np.float32)
        squared = (ray**2).sum(1)
        cosine = -(ray * normals).sum(1) / np.sqrt(squared)
        lit = np.clip((cosine[:, None] + WRAP) / (1 + WRAP), 0, None)
        # A wall is its own shadow's edge: what is met in the last 2 % of the way does not count.
        lighted = (scene.distance(lamp, ray) > 0.98).astype(np.float32)
        soft = 0.04 + 0.96 * soften(lighted)
        total += lit * (soft / (squared + 3.0))[:, None]
    distance = ((points - camera) ** 2).sum(1)
    # Light that goes from wall to wall is coloured each time: recesses are redder, not greyer.
    deep = albedo ** (1 + 0.9 * (1 - visibility))[:, None]
    direct = 0.5 * total * deep
    scattered = settings.ambient * (visibility**1.5)[:, None] * albedo**3 / (distance + 60.0)[:, None]
    return (direct + scattered).astype(np.float32)


def reflections(
    points: NDArray[Any],
    normals: NDArray[Any],
    camera: NDArray[Any],
    rotation: NDArray[Any],
    settings: LightSettings,
) -> NDArray[np.float32]:
    """Mirror-like light (N,) of the wet surface by the GGX distribution (Walter et al., EGSR 2007)."""
    view = camera - points
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    alpha2 = np.float32(ROUGHNESS**4)
    total = np.zeros(len(points), np.float32)
    for angle in CRESCENT:
        lamp = camera + rotation @ (1.6 * np.array([np.cos(angle), np.sin(angle), 0.0]))
        ray = lamp.astype(np.float32) - points
        squared = (ray**2).sum(1)
        half = ray / np.sqrt(squared)[:, None] + view
        cosine = np.clip((half * normals).sum(1) / np.linalg.norm(half, axis=1), 0, 1)
        spread = alpha2 / (np.pi * (cosine**2 * (alpha2 - 1) + 1) ** 2)
        total += spread / (squared + 3.0)
    return settings.highlights * 0.04 / len(CRESCENT) * total
