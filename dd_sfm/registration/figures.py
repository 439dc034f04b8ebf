"""A registration as figures: what registration.json holds."""

from typing import Any

import numpy as np

from dd_sfm.registration.certainty import axis, displacement, words
from dd_sfm.registration.register import Registration, difference, matrix_of

WITHIN_SHARE = 0.02
"""Of the cloud's radius: points closer to the surface than this are told of."""
MIN_REGION = 20
"""Points of a region."""


def figures(found: Registration) -> dict[str, Any]:
    """All figures; lengths in the surface's unit."""
    residual, at = found.residual, found.similarity
    limit = WITHIN_SHARE * found.radius
    usual = 3 * 1.4826 * float(np.median(residual))
    return {
        "maps": "x of the run to scale * rotation @ x + translation on the surface",
        "unit": found.unit,
        "scale": at.scale,
        "rotation": at.rotation,
        "translation": at.shift,
        "matrix": matrix_of(at),
        "residual_median": float(np.median(residual)),
        "residual_p90": float(np.percentile(residual, 90)),
        "points": len(residual),
        "inliers": int((residual <= usual).sum()),
        "overlap": float((residual <= usual).mean()),
        "within": {"limit": limit, "share": float((residual <= limit).mean())},
        "radius": found.radius,
        "verdict": found.verdict,
        "fits": found.fits,
        "score": found.score,
        "ambiguous": found.ambiguous,
        "reasons": list(found.reasons),
        "restarts": {"starts": found.starts, "ended_here": found.agreeing},
        "directions": [
            {
                "turn_axis": axis(d.vector[:3]),
                "shift_axis": axis(d.vector[3:6]),
                "parts": np.square(d.vector).reshape(-1).tolist(),
                "hold": d.hold,
                "sigma": d.sigma,
                "words": words(d, 2 * d.sigma, found.directions.radius, found.unit),
            }
            for d in found.directions.all
        ],
        "alternatives": [
            {
                "matrix": matrix_of(place.at),
                "score": place.score,
                "displacement": displacement(found.cloud, place.at, at),
                "words": difference(found.cloud, at, place.at, found.unit),
            }
            for place in found.others
        ],
        "regions": regions(found),
    }


def regions(found: Registration) -> list[dict[str, Any]]:
    """Residuals by octant about the centre of the points in place, along the axes of the surface's file."""
    xyz = found.xyz
    centre = np.median(xyz, axis=0)
    octant = (xyz > centre) @ np.array([1, 2, 4])
    rows = []
    for number in range(8):
        residual = found.residual[octant == number]
        if len(residual) < MIN_REGION:
            continue
        rows.append(
            {
                "region": " ".join(f"{name}{'+' if number >> k & 1 else '-'}" for k, name in enumerate("xyz")),
                "points": len(residual),
                "residual_median": float(np.median(residual)),
                "residual_p90": float(np.percentile(residual, 90)),
            }
        )
    return rows
