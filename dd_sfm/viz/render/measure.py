"""Lengths and areas between picked points, with the uncertainty that follows from that of the points."""

from dataclasses import dataclass

import numpy as np

from dd_sfm.structures import FloatArray

KINDS = ("distance", "path", "area")
"""Between two points; along several, in the order in which they were picked; within several, as a closed outline."""
MIN_POINTS = {"distance": 2, "path": 2, "area": 3}


@dataclass(frozen=True)
class Measured:
    """A length or an area in scene units.

    ``error``: half of such measurements are wrong by less, NaN where the uncertainty of a point is not known.
    """

    kind: str
    value: float
    error: float

    def text(self, mm_per_unit: float | None = None, scale_error: float = 0.0) -> str:
        """Value and error in words, in mm or mm² where the scale is known.

        Args:
            mm_per_unit: Length of a scene unit; None when unknown.
            scale_error: Half of such scales are wrong by a smaller share of them. It adds to the error as if it were
                independent of those of the points.
        """
        power = 2 if self.kind == "area" else 1
        factor = (mm_per_unit or 1.0) ** power
        unit = ("scene units" if mm_per_unit is None else "mm") + ("²" if power == 2 else "")
        if not np.isfinite(self.error):
            return f"{self.value * factor:.4g} {unit}"
        error = np.hypot(self.error, 0.0 if mm_per_unit is None else power * scale_error * self.value)
        return f"{self.value * factor:.4g} ± {error * factor:.2g} {unit}"


def measure(kind: str, xyz: FloatArray, error: FloatArray) -> Measured | None:
    """Measure along or within points.

    The area is that of the outline as seen along its mean normal: what the closed line encloses on a flat surface. The
    error of a point is taken to lie along whatever changes the result most, and errors of different points to be
    independent: those of near points, which share the errors of their poses, cancel out more than that.

    Args:
        kind: One of :data:`KINDS`.
        xyz: Points (N, 3) in their order.
        error: Lengths (N,) that half of the errors of such points stay below, NaN where unknown.

    Returns:
        The measurement; None of too few points.
    """
    if len(xyz) < MIN_POINTS[kind]:
        return None
    value, slopes = _area(xyz) if kind == "area" else _length(xyz)
    return Measured(kind, value, float(np.sqrt(((slopes * error) ** 2).sum())))


def _length(xyz: FloatArray) -> tuple[float, FloatArray]:
    """Length of a polyline, and how fast it grows (N,) when a point moves in the worst direction."""
    steps = np.diff(xyz, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    # Two picks of one place have no direction: an error then adds its whole length, in any one.
    directions = steps / np.maximum(lengths, 1e-300)[:, None]
    slopes = np.zeros(xyz.shape)
    slopes[:-1] -= directions
    slopes[1:] += directions
    same = lengths == 0
    found = np.linalg.norm(slopes, axis=1)
    found[:-1][same] = np.maximum(found[:-1][same], 1.0)
    found[1:][same] = np.maximum(found[1:][same], 1.0)
    return float(lengths.sum()), found


def _area(xyz: FloatArray) -> tuple[float, FloatArray]:
    """Area of a closed outline, and how fast it grows (N,) when a point moves in the worst direction."""
    centred = xyz - xyz.mean(0)
    normal = np.cross(centred, np.roll(centred, -1, axis=0)).sum(0) / 2
    area = float(np.linalg.norm(normal))
    across = np.roll(xyz, -1, axis=0) - np.roll(xyz, 1, axis=0)
    if area == 0:
        return 0.0, np.linalg.norm(across, axis=1) / 2
    return area, np.linalg.norm(np.cross(across, normal / area), axis=1) / 2
