"""Distortions of COLMAP's fisheye models, which act on a ray's angle off the axis and so also hold behind the camera.

A place is (angle cos, angle sin) of the ray's azimuth, in radians: without distortion the picture at focal length 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.float64]


def _radial(places: Places, coefficients: Sequence[float]) -> Places:
    """Places (N, 2) times 1 + k1 a^2 + k2 a^4 + ... of their angle a."""
    squared = (places**2).sum(-1, keepdims=True)
    # numpy.polyval begins with the highest power.
    return np.asarray(places * np.polyval([*reversed(coefficients), 1.0], squared))


def _thin_prism(places: Places, params: Sequence[float]) -> Places:
    k1, k2, p1, p2, k3, k4, sx1, sy1 = params
    squared = (places**2).sum(-1)
    u, v = places[..., 0], places[..., 1]
    x = 2 * p1 * u * v + p2 * (squared + 2 * u**2) + sx1 * squared
    y = 2 * p2 * u * v + p1 * (squared + 2 * v**2) + sy1 * squared
    return _radial(places, (k1, k2, k3, k4)) + np.stack([x, y], -1)


def _radial_tangential_thin_prism(places: Places, params: Sequence[float]) -> Places:
    p0, p1, s0, s1, s2, s3 = params[6:]
    bent = _radial(places, params[:6])
    squared = (bent**2).sum(-1)
    u, v = bent[..., 0], bent[..., 1]
    x = (2 * u**2 + squared) * p0 + 2 * u * v * p1 + s0 * squared + s1 * squared**2
    y = (2 * v**2 + squared) * p1 + 2 * u * v * p0 + s2 * squared + s3 * squared**2
    return np.asarray(bent + np.stack([x, y], -1))


FISHEYE_DISTORTIONS: dict[str, Callable[[Places, Sequence[Any]], Places]] = {
    "SIMPLE_FISHEYE": _radial,
    "FISHEYE": _radial,
    "SIMPLE_RADIAL_FISHEYE": _radial,
    "RADIAL_FISHEYE": _radial,
    "OPENCV_FISHEYE": _radial,
    "THIN_PRISM_FISHEYE": _thin_prism,
    "RAD_TAN_THIN_PRISM_FISHEYE": _radial_tangential_thin_prism,
}
"""By COLMAP's name of the model: takes places (N, 2) and the parameters after the centre, gives places (N, 2)."""
