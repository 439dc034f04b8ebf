"""Measure the accuracy of several matchers on several references."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dd_sfm.evaluation.matching.accuracy import MatchingRow, PointMatcher, pck_table
from dd_sfm.evaluation.matching.reference import open_reference
from dd_sfm.progress import Progress, silent

PAPER_THRESHOLDS = (3.0, 6.0, 12.0)
"""Thresholds of Liu et al., CVPR 2020, in working pixels."""


@dataclass(frozen=True)
class Method:
    """A way of matching; ``make`` creates its matchers by name, anew for every reference.

    Matchers that are created together may share their descriptor maps.
    """

    make: Callable[[], dict[str, PointMatcher]]


@dataclass(frozen=True)
class MatchingResult:
    """The accuracy of a matcher on a reference at one frame gap.

    ``data``: the reference as the user named it; ``scale``: working pixels per source pixel, while
    ``row.thresholds_px`` are in source pixels.
    """

    data: str
    method: str
    row: MatchingRow
    scale: float


def measure_matching(
    data: Sequence[str],
    methods: Sequence[Method],
    *,
    working_height_px: int,
    gaps: Sequence[int],
    thresholds_px: Sequence[float],
    in_working_px: bool = False,
    pairs_per_gap: int = 8,
    progress: Progress = silent,
) -> list[MatchingResult]:
    """Measure the percentage of correct keypoints of all methods, on the same pairs and points of every reference.

    Args:
        data: References, see :func:`dd_sfm.evaluation.matching.reference.open_reference`.
        methods: The methods to measure.
        working_height_px: Height of the field of view in working pixels.
        gaps: Distances in frames between the two frames of a pair.
        thresholds_px: Largest errors of a correct point, in source pixels or with ``in_working_px`` in working pixels.
        in_working_px: Whether thresholds are in working pixels.
        pairs_per_gap: Largest number of pairs per gap.
        progress: Shows the pairs.

    Raises:
        InputError: If a reference cannot be opened or no gap has a pair.
    """
    results = []
    for text in data:
        reference = open_reference(text, working_height_px)
        scale = reference.grid.scale
        limits = [t / scale if in_working_px else t for t in thresholds_px]
        for name, matcher in (item for method in methods for item in method.make().items()):
            rows = pck_table(
                matcher, reference, gaps=gaps, thresholds_px=limits, pairs_per_gap=pairs_per_gap, progress=progress
            )
            results += [MatchingResult(text, name, row, scale) for row in rows]
    return results


def matching_json(results: Sequence[MatchingResult]) -> list[dict[str, Any]]:
    """The results as content of a JSON file."""
    return [{"data": r.data, "method": r.method, **asdict(r.row), "working_px_per_source_px": r.scale} for r in results]
