"""Summaries of reprojection errors, the same for every table: only observations that were measured count."""

import numpy as np

from dd_sfm.sfm.geometry import measured_errors_px
from dd_sfm.structures import FloatArray


def behind_camera_notes(error_px: FloatArray) -> list[str]:
    """A note for the user where errors (O,) of observations are infinite: their points lie behind the camera."""
    behind = int(np.isinf(error_px).sum())
    if not behind:
        return []
    return [
        f"{behind:,} of {len(error_px):,} observations are of points behind their camera: they have no "
        "reprojection error and are left out of it"
    ]


def reprojection_summary(error_px: FloatArray) -> dict[str, float | None]:
    """Median and 90th percentile of the errors (O,) of observations, in source pixels; None without any.

    A dense point is the depth of a pixel in its reference frame. Its error there is zero by construction and says
    nothing, so it is left out, as in metrics.json. SIFT's points have no such observation, so the two compare fairly.
    Observations of points behind their camera have no error and are left out too (:func:`behind_camera_notes`).
    """
    error_px = error_px[np.isfinite(error_px)]
    if not len(error_px):
        return {"reprojection_median_px": None, "reprojection_p90_px": None}
    measured = measured_errors_px(error_px)
    return {
        "reprojection_median_px": float(np.median(measured)),
        "reprojection_p90_px": float(np.percentile(measured, 90)),
    }
