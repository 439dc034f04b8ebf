"""A frame's descriptors as matching reads them: sampled at points, and searched for the points of other frames."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dd_sfm.config import MatchConfig
from dd_sfm.features.coarse_search import CoarseMap
from dd_sfm.features.matching import match_nearest, subcell_peak
from dd_sfm.ops.sampling import sample_descriptors


class SearchMap(Protocol):
    """What both kinds of search offer; cells are (column, row)."""

    @property
    def device(self) -> torch.device:
        """Where queries and places are."""
        ...

    def sample(self, place: Tensor) -> Tensor:
        """Unit-norm descriptors (N, D) at fractional cells (N, 2)."""
        ...

    def search(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Find the most similar usable cell for every query (N, D).

        Returns:
            Cells (N, 2) int64 and cosine similarities (N,) float32; without any usable cell, cell (0, 0) and
            similarity -2.
        """
        ...

    def refine(self, queries: Tensor, cell: Tensor) -> Tensor:
        """Refine cells (N, 2) to peaks between cells (N, 2); see :func:`dd_sfm.features.matching.subcell_peak`."""
        ...


@dataclass(frozen=True)
class WholeMap:
    """A map of which every usable cell is compared with every query: ``descriptors`` (D, H, W), ``usable`` (H, W)."""

    descriptors: Tensor
    usable: Tensor
    config: MatchConfig

    @property
    def device(self) -> torch.device:
        """See :class:`SearchMap`."""
        return self.descriptors.device

    def sample(self, place: Tensor) -> Tensor:
        """See :class:`SearchMap`."""
        return sample_descriptors(self.descriptors, place)

    def search(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SearchMap`."""
        width = self.usable.shape[1]
        cells = torch.nonzero(self.usable.flatten())[:, 0]
        if not len(cells):
            return torch.zeros((len(queries), 2), dtype=torch.int64, device=queries.device), queries.new_full(
                (len(queries),), -2.0
            )
        flat, config = self.descriptors.flatten(1).t(), self.config
        index, best = match_nearest(
            queries.to(flat.dtype), flat[cells], chunk_queries=config.chunk_queries, chunk_cells=config.chunk_cells
        )
        index = cells[index]
        return torch.stack([index % width, index // width], 1), best

    def refine(self, queries: Tensor, cell: Tensor) -> Tensor:
        """See :class:`SearchMap`."""
        return subcell_peak(self.descriptors, queries, cell)


def search_map(descriptors: Tensor, usable: Tensor, config: MatchConfig, *, bfloat16: bool = False) -> SearchMap:
    """Prepare a map for the search that the configuration asks for.

    Args:
        descriptors: Unit-norm descriptors (D, H, W).
        usable: (H, W) bool.
        config: ``search`` (coarse to fine or exhaustive) and block sizes.
        bfloat16: Let the coarse search choose its candidates in half precision.
    """
    if config.search == "exhaustive" or (config.search == "auto" and descriptors.device.type == "cuda"):
        return WholeMap(descriptors, usable, config)
    return CoarseMap.of(descriptors, usable, chunk=config.chunk_queries, bfloat16=bfloat16)
