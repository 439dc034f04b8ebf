"""What the points around a point say of its expected error: how far they are from a plane, and how far away."""

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.ops.slices import slices
from dd_sfm.structures import FloatArray

POINTS_AROUND = 20
"""Points around each that are looked at with it."""
SCATTER_WEIGHT = 1.5
"""Distances of these points from the plane through them count so many times beside the expected error."""
SPARSE_POWER, MOST_STEPS = 0.3, 5.0
"""The expected error grows with this power of the steps of the search grid to the tenth of them, up to so many."""
CENTRING = 0.78
"""Factor on all where frames are not enlarged: with it fifths of points are as wrong as expected on most clips..."""
ENLARGED_POWER = 0.25
"""...and the power of what frames are enlarged by, by which it is larger where they are: those are less sharp."""
AT_ONCE = 50_000
"""Points whose neighbours are in memory at once."""


def uncertainty_among_neighbours(
    xyz: FloatArray, depth: FloatArray, uncertainty: FloatArray, spacing: float, working_scale: float
) -> FloatArray:
    """Expected relative errors (P,) of points, by what they were expected to be and by the points around.

    Where points scatter about the plane through them some are wrong, and where there are few others did not agree. The
    fits behind it: docs/design-notes.md.

    Args:
        xyz: Points (P, 3).
        depth: How far they are from their cameras (P,).
        uncertainty: Expected relative errors (P,) of each by itself.
        spacing: Of the pixels that points were searched at, relative to the focal length.
        working_scale: Working pixels in a source pixel.
    """
    if len(xyz) <= POINTS_AROUND:
        return uncertainty
    centring = CENTRING * max(1, working_scale) ** ENLARGED_POWER
    tree, found, depth = cKDTree(xyz), np.empty(len(xyz)), np.maximum(depth, 1e-12)
    for part in slices(len(xyz), AT_ONCE):
        away, number = map(np.asarray, tree.query(xyz[part], POINTS_AROUND + 1))
        around = xyz[number] - xyz[number].mean(1, keepdims=True)
        moments = around.transpose(0, 2, 1) @ around / (POINTS_AROUND + 1)
        scatter = np.sqrt(np.maximum(np.linalg.eigvalsh(moments)[:, 0], 0)) / depth[part]
        steps = away[:, POINTS_AROUND // 2] / (depth[part] * spacing)
        sparse = np.clip(steps, 1, MOST_STEPS) ** SPARSE_POWER
        found[part] = centring * sparse * np.hypot(uncertainty[part], SCATTER_WEIGHT * scatter)
    return found
