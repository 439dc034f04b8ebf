"""Calibration of the points' uncertainty: whether true errors are as large as expected ones."""

from typing import Any

import numpy as np

from dd_sfm.structures import FloatArray

BINS = 5
MIN_POINTS_PER_BIN = 10
"""Fewest points in a bin: the median of fewer means nothing."""
GROSS = 3.0
"""True errors so many times as large as the expected ones are not what was claimed."""


def calibration_figures(predicted: FloatArray, actual: FloatArray, bins: int = BINS) -> dict[str, Any] | None:
    """Compare expected with true errors, in bins of equally many points, the most certain points first.

    The expected error of a point is the error that half of such points stay below: where it is well calibrated, the
    medians of both are the same.

    Args:
        predicted: Expected errors (P,), relative to the distance; NaN where unknown.
        actual: True errors (P,) of the same points in the same unit; NaN where unknown.
        bins: Number of bins.

    Returns:
        ``points``: how many have both errors; ``rank_correlation``: Spearman's, None when either error is the same for
        all; ``growth_when_doubled``: the factor by which the true error grows where the expected one doubles, from a
        line through the logarithms of the bins' medians, None when these do not differ; ``gross_share``: of the points
        whose true error is more than :data:`GROSS` times the expected one; ``bins``: a row for each. None with too few
        points.
    """
    known = np.flatnonzero(np.isfinite(predicted) & np.isfinite(actual))
    if len(known) < bins * MIN_POINTS_PER_BIN:
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
    # Imported here, as it takes half a second, which every command would take longer to start.
    from scipy.stats import spearmanr

    varied = np.ptp(expected) > 0 and np.ptp(found) > 0
    return {
        "points": len(known),
        "rank_correlation": float(spearmanr(expected, found).statistic) if varied else None,
        "growth_when_doubled": _growth(medians),
        "gross_share": float((found > GROSS * expected).mean()),
        "bins": rows,
    }


def _growth(medians: list[tuple[float, float]]) -> float | None:
    """By how much the second of two values grows when the first doubles; None when it cannot be told."""
    values = np.array(medians)
    if (values <= 0).any() or np.ptp(values[:, 0]) <= 1e-6 * values[:, 0].max():
        return None
    slope = np.polyfit(np.log(values[:, 0]), np.log(values[:, 1]), 1)[0]
    return float(2**slope)
