"""What the points around a point say of its expected error: how far they are from a plane, and how far away."""

import numpy as np
from scipy.spatial import cKDTree

from dd_sfm.structures import FloatArray

NEIGHBOURS = 20
"""Points around a point that it is held against."""
ROUGHNESS, SHARE = 1.5, 0.85
"""How often the distance of the neighbours from a plane counts beside what was expected before; share of both."""
SPARSENESS, MAX_SPARSENESS = 0.3, 5.0
"""Power of how far the points around are from a point with which its expected error grows, and up to which distance."""
AT_ONCE = 50_000
"""Points whose neighbours are in memory at once."""


def uncertainty_among_neighbours(
    xyz: FloatArray, depth: FloatArray, uncertainty: FloatArray, spacing: float
) -> FloatArray:
    """Expected relative errors (P,) of points, by what they were expected to be and by the points around.

    Where points scatter about the plane through them some are wrong, and where there are few others did not agree. The
    fits behind it: docs/design-notes.md.

    Args:
        xyz: Points (P, 3).
        depth: How far they are from their cameras (P,).
        uncertainty: Expected relative errors (P,) of each by itself.
        spacing: Of the pixels that points were searched at, relative to the focal length.
    """
    if len(xyz) <= NEIGHBOURS:
        return uncertainty
    tree, found = cKDTree(xyz), np.empty(len(xyz))
    for part in (slice(first, first + AT_ONCE) for first in range(0, len(xyz), AT_ONCE)):
        away, number = map(np.asarray, tree.query(xyz[part], NEIGHBOURS + 1))
        around = xyz[number[:, 1:]]
        around = around - around.mean(1, keepdims=True)
        moments = around.transpose(0, 2, 1) @ around / NEIGHBOURS
        roughness = np.sqrt(np.maximum(np.linalg.eigvalsh(moments)[:, 0], 0)) / depth[part]
        steps = away[:, NEIGHBOURS // 2] / (depth[part] * spacing)
        sparseness = np.clip(steps, 1, MAX_SPARSENESS) ** SPARSENESS
        found[part] = SHARE * sparseness * np.hypot(uncertainty[part], ROUGHNESS * roughness)
    return found
