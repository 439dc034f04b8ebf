"""Matching with windows: positions found by single descriptors are refined until the windows around them agree."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View
from dd_sfm.features.point_search import usable_cells
from dd_sfm.features.window_alignment import align_windows, window_map
from dd_sfm.ops.sampling import cell_to_image, image_to_cell


class WindowRefinedMatcher:
    """Refines positions of a :class:`DescriptorMatcher` (:func:`dd_sfm.features.window_alignment.align_windows`).

    Args:
        matcher: Finds the positions to refine, and computes the descriptor maps.
    """

    def __init__(self, matcher: DescriptorMatcher) -> None:
        self.matcher = matcher

    def __call__(self, source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
        """Find points (N, 2) of the source in the target; returns positions (N, 2), both in working pixels."""
        positions = self.matcher(source, target, xy)
        found = np.flatnonzero(np.isfinite(positions).all(1))
        map0, map1 = (window_map(self.matcher.map(view)) for view in (source, target))
        usable0, usable1 = (
            np.ascontiguousarray(usable_cells(view.mask, self.matcher.stride, window.shape))
            for view, window in ((source, map0), (target, map1))
        )
        cell0, cell1 = (image_to_cell(torch.from_numpy(p[found]), self.matcher.stride).numpy() for p in (xy, positions))
        moved = torch.from_numpy(align_windows(map0, map1, usable0, usable1, cell0, cell1))
        positions[found] = cell_to_image(moved, self.matcher.stride).numpy()
        return positions
