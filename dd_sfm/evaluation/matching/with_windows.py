"""Matching by windows of descriptors: places that single ones found, moved until their surroundings agree too."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View
from dd_sfm.features.point_search import usable_cells
from dd_sfm.features.window_alignment import align_windows, window_map
from dd_sfm.ops.sampling import cell_to_image, image_to_cell


class WindowMatcher:
    """Places of a :class:`DescriptorMatcher`, each refined by :func:`dd_sfm.features.window_alignment.align_windows`.

    Args:
        plain: Finds the places, and makes the maps.
    """

    def __init__(self, plain: DescriptorMatcher) -> None:
        self.plain = plain

    def __call__(self, source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
        """Points (N, 2) of the source -> their places (N, 2) in the target; both in working pixels."""
        places = self.plain(source, target, xy)
        found = np.flatnonzero(np.isfinite(places).all(1))
        map0, map1 = (window_map(self.plain.map(view)) for view in (source, target))
        usable0, usable1 = (
            np.ascontiguousarray(usable_cells(view.mask, self.plain.stride, held.shape))
            for view, held in ((source, map0), (target, map1))
        )
        cell0, cell1 = (image_to_cell(torch.from_numpy(p[found]), self.plain.stride).numpy() for p in (xy, places))
        moved = torch.from_numpy(align_windows(map0, map1, usable0, usable1, cell0, cell1))
        places[found] = cell_to_image(moved, self.plain.stride).numpy()
        return places
