"""Lenses that calibration tools know and COLMAP does not: where rays land, in COLMAP's pixels.

Each takes rays (N, 3) and its parameters, the first of which are focal lengths and principal point, and gives pixels
(N, 2), NaN where the lens shows nothing.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops import scaramuzza

Floats = NDArray[np.float64]

PLACE = ("fx", "fy", "cx", "cy")
LEAST_DEPTH = 0.02
"""Rays that would be divided by less have no pixel: they are at the end of what the lens shows."""


def tilted_opencv(points: Floats, params: Sequence[float]) -> Floats:
    """OpenCV's lens with all of its 14 coefficients, thin prisms and a tilted sensor among them, and skew."""
    bent = np.full((len(points), 2), np.nan)
    front = points[:, 2] > 0
    if front.any():
        rays = np.ascontiguousarray(points[front])[:, None]
        places = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(params[5:]))[0]
        bent[front] = places[:, 0]
    return _place(bent, params[:4], params[4])


def mei(points: Floats, params: Sequence[float]) -> Floats:
    """Mei's lens, of OpenCV's omnidir and Kalibr's omni: a sphere seen from xi behind its centre, then distortion."""
    skew, xi, k1, k2, p1, p2, k3 = params[4:]
    rays = points / np.linalg.norm(points, axis=1, keepdims=True)
    depth = rays[:, 2] + xi
    # Behind where a ray touches the sphere's outline, rays land upon others.
    shown = (depth > LEAST_DEPTH) & (xi * rays[:, 2] > LEAST_DEPTH - 1)
    x, y = rays[:, :2].T / np.where(shown, depth, np.nan)
    squared = x**2 + y**2
    radial = 1 + squared * (k1 + squared * (k2 + squared * k3))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (squared + 2 * x**2)
    bent_y = y * radial + 2 * p2 * x * y + p1 * (squared + 2 * y**2)
    return _place(np.column_stack([bent_x, bent_y]), params[:4], skew)


def double_sphere(points: Floats, params: Sequence[float]) -> Floats:
    """The lens of two spheres (Usenko, Demmel and Cremers 2018)."""
    xi, alpha = params[4:]
    rays = points / np.linalg.norm(points, axis=1, keepdims=True)
    shifted = rays[:, 2] + xi
    depth = alpha * np.hypot(np.hypot(rays[:, 0], rays[:, 1]), shifted) + (1 - alpha) * shifted
    return _place(rays[:, :2] / np.where(depth > LEAST_DEPTH, depth, np.nan)[:, None], params[:4])


def _place(flat: Floats, place: Sequence[float], skew: float = 0.0) -> Floats:
    fx, fy, cx, cy = place
    return np.column_stack([fx * flat[:, 0] + skew * flat[:, 1] + cx, fy * flat[:, 1] + cy])


RADIAL_TANGENTIAL = ("k1", "k2", "p1", "p2", "k3")
OWN_LENSES: dict[str, tuple[tuple[str, ...], Callable[[Floats, Sequence[float]], Floats]]] = {
    "TILTED_OPENCV": (
        (*PLACE, "skew", *RADIAL_TANGENTIAL, "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tx", "ty"),
        tilted_opencv,
    ),
    "MEI": ((*PLACE, "skew", "xi", *RADIAL_TANGENTIAL), mei),
    "DOUBLE_SPHERE": ((*PLACE, "xi", "alpha"), double_sphere),
    scaramuzza.NAME: (scaramuzza.PARAMETERS, scaramuzza.project),
}
"""By name the parameters of a lens and its projection."""
BEHIND_THE_PLANE = ("MEI", "DOUBLE_SPHERE", scaramuzza.NAME)
"""Those that also show what is behind the camera's plane."""


def focal_lengths(model: str, params: Sequence[float]) -> tuple[float, float]:
    """Pixels a radian at the centre of an own lens, along x and y."""
    if model == scaramuzza.NAME:
        return params[6] * params[2], params[6] * params[5]
    xi = params[OWN_LENSES[model][0].index("xi")] if "xi" in OWN_LENSES[model][0] else 0.0
    return params[0] / (1 + xi), params[1] / (1 + xi)


def principal_point(model: str, params: Sequence[float]) -> tuple[float, float]:
    """The pixel of an own lens that looks straight ahead, but for tangential terms."""
    at = OWN_LENSES[model][0].index("cx")
    return params[at], params[at + 1]


def moved(
    model: str, params: Sequence[float], scale: tuple[float, float], origin: tuple[float, float]
) -> tuple[float, ...]:
    """The parameters of an own lens for pictures that are scaled, then cut at an origin."""
    along_x, along_y = ("fx", "skew", "cx", "s00", "s01"), ("fy", "cy", "s10", "s11")
    found = []
    for name, value in zip(OWN_LENSES[model][0], params, strict=True):
        factor = scale[0] if name in along_x else scale[1] if name in along_y else 1.0
        found.append(value * factor - (origin[0] if name == "cx" else origin[1] if name == "cy" else 0.0))
    return tuple(map(float, found))
