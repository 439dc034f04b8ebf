"""Matching with patches: positions found by descriptors are refined by patch alignment, as in a reconstruction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dd_sfm.config import MatchConfig
from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
from dd_sfm.evaluation.matching.reference import View
from dd_sfm.features.point_search import usable_cells
from dd_sfm.features.view_matching import MatchView, match_view, match_views

MAX_RESIDUAL_CELLS = 1.0
"""Largest distance in cells of a refined position from where the motion of its neighbours predicts it.

Along folds and in repetitive tissue patches slide further than that; the position before refinement is kept then.
"""


class PatchRefinedMatcher:
    """Refines the positions of a :class:`DescriptorMatcher` as a reconstruction refines its matches.

    The points are matched together with the query points of a reconstruction, which give the affine motion around each
    point. A point that fails a check, or whose patch moved too far, keeps the position that its descriptor found.

    Args:
        matcher: Finds the positions to refine, and computes the descriptor maps.
        queries: Gives the query points (K, 2) of a view in working pixels.
        config: Settings of search, checks and alignment.
        bfloat16: Whether the coarse search chooses its candidates in half precision.
    """

    def __init__(
        self,
        matcher: DescriptorMatcher,
        queries: Callable[[View], NDArray[Any]],
        config: MatchConfig,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.matcher, self.queries, self.bfloat16 = matcher, queries, bfloat16
        self.config = replace(config, subpixel=True)

    def __call__(self, source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
        """Find points (N, 2) of the source in the target; returns positions (N, 2), both in working pixels."""
        positions = self.matcher(source, target, xy)
        query_xy = np.concatenate([xy, self.queries(source)]).astype(np.float32)
        found = match_views(self._view(source), self._view(target), query_xy, self.config, self.matcher.stride)
        refined = (found.index < len(xy)) & (found.residual_px <= MAX_RESIDUAL_CELLS * self.matcher.stride)
        positions[found.index[refined].cpu().numpy()] = found.xy[refined].cpu().numpy()
        return positions

    def _view(self, view: View) -> MatchView:
        descriptors = self.matcher.map(view).float()
        usable = usable_cells(view.mask, self.matcher.stride, descriptors.shape[-2:])
        on_device = torch.from_numpy(usable.copy()).to(descriptors.device)
        return match_view(descriptors, on_device, view.image, self.config, bfloat16=self.bfloat16)
