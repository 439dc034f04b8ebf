"""What is known of a lens from the kind of endoscope alone."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from dd_sfm.sfm.eucm import ALPHA, BETA, CX, CY, field_angle_deg, lens_vector
from dd_sfm.sfm.lens_adjustment import Prior
from dd_sfm.structures import FloatArray

PINCUSHION_SPREAD = 0.02
"""Spread of a negative alpha: endoscopes have barrel distortion or hardly any."""
MOST_ALPHA = 1.0
BETA_SPREAD = 0.3
"""Spread of beta's logarithm: fisheyes have 1 to 1.13, lenses with OpenCV's coefficients 0.6 to 2.

Straight ahead it alone tells the focal length: with all depths c times as long, f becomes c f and beta c^2 beta.
"""
LEAST_BETA = 1e-6
CENTRE_SPREAD = 0.1
"""Spread of the principal point about the centre of the field of view, as a share of the field's width."""
NO_ANGLE_DEG = 400.0
"""Stands for the field's angle where a lens cannot show all of it."""


@dataclass(frozen=True)
class LensPrior:
    """A kind of lens.

    ``angle_deg`` across the larger side of the field of view, and its ``spread_deg``; ``alpha``, the distortion that
    is expected, and ``alpha_spread`` (:mod:`dd_sfm.sfm.eucm`); standard deviations. ``alpha_per_deg``: by how
    much more distortion is expected of a wider field.
    """

    angle_deg: float
    spread_deg: float
    alpha: float
    alpha_spread: float
    alpha_per_deg: float = 0.0

    def lens(self, centre: tuple[float, float], radius_px: float) -> FloatArray:
        """The lens (5,) that is expected for a field of view of this centre and half width."""
        return lens_vector(self._focal(radius_px, self.angle_deg, self.alpha), self.alpha, 1.0, centre)

    def focal_sigma(self, radius_px: float) -> float:
        """Relative standard deviation of the focal length that is expected."""
        by_angle = [
            self._focal(radius_px, float(np.clip(self.angle_deg + sign * self.spread_deg, 5, 170)), self.alpha)
            for sign in (-1, 1)
        ]
        by_alpha = [
            self._focal(radius_px, self.angle_deg, max(0.0, self.alpha + sign * self.alpha_spread)) for sign in (-1, 1)
        ]
        spreads = [np.log(max(pair) / min(pair)) / 2 for pair in (by_angle, by_alpha)]
        return float(np.hypot(*spreads))

    def residuals(self, centre: tuple[float, float], radius_px: float) -> Prior:
        """How far a lens is from what is expected, in standard deviations."""
        wander = 2 * radius_px * CENTRE_SPREAD

        def prior(lens: FloatArray) -> FloatArray:
            found = field_angle_deg(lens, radius_px)
            wider = (found if np.isfinite(found) else NO_ANGLE_DEG) - self.angle_deg
            alpha, expected = lens[ALPHA], self.alpha + self.alpha_per_deg * max(0.0, wider)
            return np.array(
                [
                    wider / self.spread_deg,
                    (alpha - min(expected, MOST_ALPHA)) / self.alpha_spread,
                    min(alpha, 0.0) / PINCUSHION_SPREAD,
                    np.log(max(lens[BETA], LEAST_BETA)) / BETA_SPREAD,
                    (lens[CX] - centre[0]) / wander,
                    (lens[CY] - centre[1]) / wander,
                ]
            )

        return prior

    @staticmethod
    def _focal(radius_px: float, angle_deg: float, alpha: float) -> float:
        def excess(log_focal: float) -> float:
            found = field_angle_deg(lens_vector(float(np.exp(log_focal)), alpha, 1.0, (0, 0)), radius_px)
            return (found if np.isfinite(found) else NO_ANGLE_DEG) - angle_deg

        return float(np.exp(brentq(excess, np.log(radius_px / 50), np.log(radius_px * 50), xtol=1e-9)))


LENSES = {
    "rigid-0": LensPrior(78, 10, 0.2, 0.25),
    "rigid-30": LensPrior(78, 10, 0.2, 0.25),
    "rigid-45": LensPrior(78, 10, 0.2, 0.25),
    "rigid-70": LensPrior(78, 10, 0.2, 0.25),
    "wide-rigid": LensPrior(105, 10, 0.5, 0.25),
    "rhinoscope": LensPrior(87, 10, 0.3, 0.25),
    "bronchoscope": LensPrior(110, 15, 0.5, 0.25),
    "cystoscope": LensPrior(115, 12, 0.5, 0.25),
    "ureteroscope": LensPrior(85, 10, 0.3, 0.25),
    "duodenoscope": LensPrior(100, 10, 0.5, 0.25),
    "gastroscope": LensPrior(140, 10, 0.85, 0.2),
    "colonoscope": LensPrior(140, 10, 0.85, 0.2),
    "capsule": LensPrior(150, 12, 0.8, 0.25),
}
"""By the name that ``--lens`` takes. Angles are those that makers state; the angle in a rigid scope's name is the way
it looks, which the picture does not show."""
UNKNOWN_SPREAD_DEG = 30.0


def lens_prior(name: str, field_of_view_deg: float) -> LensPrior:
    """The prior of a kind of lens; of "unknown" one with this angle, without distortion unless the clip shows it."""
    if name == "unknown":
        return LensPrior(field_of_view_deg, UNKNOWN_SPREAD_DEG, 0.0, 0.3, alpha_per_deg=1 / 60)
    return LENSES[name]
