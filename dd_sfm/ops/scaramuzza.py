"""Scaramuzza's omnidirectional lens, which OCamCalib and MATLAB calibrate and COLMAP does not have.

A pixel's place p on the sensor is what a 2 x 2 stretch makes its distance from the centre; its ray is (p, a(|p|)) for a
polynomial a.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NAME = "SCARAMUZZA"
PARAMETERS = ("cx", "cy", "s00", "s01", "s10", "s11", "a0", "a1", "a2", "a3", "a4", "a5", "a6")
"""Centre in COLMAP's pixels, stretch by rows, and the polynomial's coefficients from the constant one on."""
STEPS, ROUNDS = 4000, 4


def project(points: Floats, params: Sequence[float]) -> Floats:
    """Where rays (N, 3) land, in COLMAP's pixels (N, 2); NaN beyond where the polynomial turns back."""
    centre, stretch, polynomial = np.array(params[:2]), np.reshape(params[2:6], (2, 2)), np.array(params[6:])
    across, ahead = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    angle = np.arctan2(across, ahead)
    radii, angles = _table(polynomial)
    radius = np.interp(angle, angles, radii)
    slope = np.polyder(polynomial[::-1])
    for _ in range(ROUNDS):
        # Newton's method for the radius whose ray has this direction.
        error = across * np.polyval(polynomial[::-1], radius) - ahead * radius
        change = across * np.polyval(slope, radius) - ahead
        radius -= np.divide(error, change, out=np.zeros_like(error), where=change != 0)
    radius[angle > angles[-1]] = np.nan
    outward = np.divide(points[:, :2], across[:, None], out=np.zeros((len(points), 2)), where=across[:, None] > 0)
    return np.asarray(outward * radius[:, None] @ stretch.T + centre)


def _table(polynomial: Floats) -> tuple[Floats, Floats]:
    """Radii, and the angles off the axis of their rays, as far as these grow."""
    radii = np.linspace(0, 4 * polynomial[0], STEPS)
    angles = np.arctan2(radii, np.polyval(polynomial[::-1], radii))
    falls = np.flatnonzero(np.diff(angles) <= 0)
    end = int(falls[0]) + 1 if len(falls) else STEPS
    return radii[:end], angles[:end]
