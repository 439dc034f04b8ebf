"""Matching accuracy: the percentage of correct keypoints (PCK) for pairs of frames with growing gaps between them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dd_sfm.errors import InputError
from dd_sfm.evaluation.matching.reference import Reference, View
from dd_sfm.features.describe import describe_image
from dd_sfm.features.point_search import find_points, usable_cells
from dd_sfm.progress import Progress, silent

Describe = Callable[[View], Tensor]
"""Computes unit-norm descriptors (D, H // stride, W // stride) of a view."""


class PointMatcher(Protocol):
    """Finds the points of one view in another."""

    def __call__(self, source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
        """Find points (N, 2) of the source in the target; returns positions (N, 2), both in working pixels."""
        ...


@dataclass(frozen=True)
class MatchingRow:
    """Accuracy at one frame gap: ``pck[k]`` is the share of points found within ``thresholds_px[k]`` source pixels."""

    name: str
    gap: int
    pairs: int
    points: int
    thresholds_px: tuple[float, ...]
    pck: tuple[float, ...]
    median_error_px: float


class DescriptorMatcher:
    """Finds the most similar descriptor among all usable cells, refined by a parabola, without a mutual check.

    Args:
        describe: Computes the descriptors of a view.
        stride: Working pixels per cell.
        capacity: Number of descriptor maps kept, so that a frame in several pairs is described once.
    """

    def __init__(self, describe: Describe, stride: int, capacity: int = 64) -> None:
        self.describe, self.stride, self.capacity = describe, stride, capacity
        self._maps: OrderedDict[int, Tensor] = OrderedDict()

    def __call__(self, source: View, target: View, xy: NDArray[Any]) -> NDArray[Any]:
        """Find points (N, 2) of the source in the target; returns positions (N, 2), both in working pixels."""
        map0, map1 = (self.map(view).float() for view in (source, target))
        usable = usable_cells(target.mask, self.stride, map1.shape[-2:])
        return find_points(map0, map1, usable, xy, self.stride).cpu().numpy()

    def map(self, view: View) -> Tensor:
        """Descriptors (D, H // stride, W // stride) float16 of a view; those used last are kept."""
        if view.frame not in self._maps:
            # In half precision, since a dozen maps of a network of stride 1 would otherwise fill the memory.
            self._maps[view.frame] = self.describe(view).half()
        self._maps.move_to_end(view.frame)
        while len(self._maps) > self.capacity:
            self._maps.popitem(last=False)
        return self._maps[view.frame]


def network_matcher(network: nn.Module, device: torch.device, *, bfloat16: bool = False) -> DescriptorMatcher:
    """A matcher with the descriptors of a network (``dd_sfm.features.networks.interface``), in evaluation mode."""
    network.eval()

    def describe(view: View) -> Tensor:
        return describe_image(network, view.image, device, bfloat16=bfloat16)

    return DescriptorMatcher(describe, cast(int, network.stride), capacity=64 if cast(int, network.stride) > 1 else 8)


def pck_table(
    matcher: PointMatcher,
    reference: Reference,
    *,
    gaps: Sequence[int] = (1, 4, 12, 30),
    thresholds_px: Sequence[float] = (2.0, 4.0, 8.0, 24.0),
    pairs_per_gap: int = 8,
    points_per_pair: int = 400,
    seed: int = 0,
    progress: Progress = silent,
) -> list[MatchingRow]:
    """Measure the percentage of correct keypoints per frame gap.

    Pairs and points depend on nothing but the arguments, so that matchers compare.

    Args:
        matcher: The matcher to measure. It may cache by frame number: use a new one for another reference.
        reference: Frames with known correspondences.
        gaps: Distances in frames between the two frames of a pair.
        thresholds_px: Largest errors of a correct point, in source pixels.
        pairs_per_gap: Largest number of pairs per gap, evenly spread over the reference.
        points_per_pair: Largest number of points per pair.
        seed: Seed of the choice of points.
        progress: Shows the pairs.

    Returns:
        A row for each gap; gaps without pairs are left out.

    Raises:
        InputError: If no gap has a pair.
    """
    pairs = [(gap, i) for gap in gaps for i in evenly_chosen(reference.first_frames(gap), pairs_per_gap)]
    errors: dict[int, list[NDArray[Any]]] = {}
    for gap, i in progress(pairs, total=len(pairs), label=f"matching {reference.name}"):
        rng = np.random.default_rng([seed, gap, i])
        error = pair_errors(matcher, reference, i, i + gap, points_per_pair, rng)
        if len(error):
            errors.setdefault(gap, []).append(error)
    if not errors:
        raise InputError(
            f"{reference.name}: no pair with common points at gaps {', '.join(map(str, gaps))}; expected at least "
            "one. Try smaller gaps"
        )
    return [_row(reference.name, gap, parts, tuple(thresholds_px)) for gap, parts in errors.items()]


def pair_errors(
    matcher: PointMatcher, reference: Reference, source: int, target: int, points: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Errors (N,) in source pixels of at most ``points`` points in a pair of frames; inf for points not found."""
    xy0, xy1 = reference.correspondences(source, target, rng)
    if not len(xy0):
        return np.zeros(0)
    chosen = rng.permutation(len(xy0))[:points]
    grid = reference.grid
    found = matcher(reference.view(source), reference.view(target), grid.to_working(xy0[chosen]))
    error = np.linalg.norm(grid.to_source(np.asarray(found, np.float64)) - xy1[chosen], axis=1)
    return np.nan_to_num(error, nan=np.inf)


def evenly_chosen(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    # The middles of equal parts, so that neither end is favoured.
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def _row(name: str, gap: int, parts: list[NDArray[Any]], thresholds_px: tuple[float, ...]) -> MatchingRow:
    error = np.concatenate(parts)
    pck = tuple(float((error < t).mean()) for t in thresholds_px)
    return MatchingRow(name, gap, len(parts), len(error), thresholds_px, pck, float(np.median(error)))


def table_text(rows: Sequence[MatchingRow]) -> str:
    """The rows as a Markdown table, accuracies in percent."""
    if not rows:
        return ""
    head = ["sequence", "gap", "pairs", "points", *(f"{t:g} px" for t in rows[0].thresholds_px), "median px"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for row in rows:
        cells = [row.name, row.gap, row.pairs, row.points, *(f"{100 * p:.0f}" for p in row.pck)]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row.median_error_px:.1f}"])) + " |")
    return "\n".join(lines)
