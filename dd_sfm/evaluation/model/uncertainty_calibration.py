"""Whether points are as wrong as they are expected to be."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from dd_sfm.structures import FloatArray

BINS = 5
FEWEST = 10
"""Points a bin at least: fewer have no median to speak of."""


def calibration_figures(predicted: FloatArray, actual: FloatArray, bins: int = BINS) -> dict[str, Any] | None:
    """Expected beside true errors, in bins of as many points each, the surest first.

    ``predicted`` is the error that half of such points stay below: where it is right, the medians of both are the same.

    Args:
        predicted: Expected errors (P,), relative to the distance; NaN where nothing is known of a point.
        actual: True errors (P,) of the same points in the same unit; NaN where they are not known.
        bins: Number of bins.

    Returns:
        ``points`` that count, their ``rank_correlation`` (Spearman; None when either is the same for all),
        ``growth_when_doubled`` (how many times larger the true error is where the expected one doubles, by a line
        through the bins' medians in logarithms; None without a spread), and ``bins``. None with too few points.
    """
    known = np.flatnonzero(np.isfinite(predicted) & np.isfinite(actual))
    if len(known) < bins * FEWEST:
        return None
    expected, found = predicted[known], actual[known]
    rows, medians = [], []
    for part in np.array_split(np.argsort(expected, kind="stable"), bins):
        middle, true = float(np.median(expected[part])), float(np.median(found[part]))
        medians.append((middle, true))
        rows.append(
            {
                "points": len(part),
                "predicted_median": middle,
                "actual_median": true,
                "actual_p90": float(np.percentile(found[part], 90)),
                "actual_over_predicted": true / middle if middle > 0 else None,
            }
        )
    varied = np.ptp(expected) > 0 and np.ptp(found) > 0
    return {
        "points": len(known),
        "rank_correlation": float(spearmanr(expected, found).statistic) if varied else None,
        "growth_when_doubled": _growth(medians),
        "bins": rows,
    }


def _growth(medians: list[tuple[float, float]]) -> float | None:
    values = np.array(medians)
    if (values <= 0).any() or np.ptp(values[:, 0]) <= 1e-6 * values[:, 0].max():
        return None
    slope = np.polyfit(np.log(values[:, 0]), np.log(values[:, 1]), 1)[0]
    return float(2**slope)
