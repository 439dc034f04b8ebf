"""Several ways of matching measured on several references."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dd_sfm.evaluation.matching.accuracy import MatchingRow, PointMatcher, pck_table
from dd_sfm.evaluation.matching.reference import open_reference
from dd_sfm.progress import Progress, silent

PAPER_THRESHOLDS = (3.0, 6.0, 12.0)
"""Thresholds of Liu et al., CVPR 2020, in pixels of the image that the network sees."""


@dataclass(frozen=True)
class Method:
    """A way of matching; ``make`` is called anew for every reference and gives its rows' names and matchers.

    Matchers made together may share what they hold, as a plain and an aligned one their maps.
    """

    make: Callable[[], dict[str, PointMatcher]]


@dataclass(frozen=True)
class MatchingResult:
    """A row of the table: ``row.thresholds_px`` are in source pixels, ``scale`` is working pixels per source pixel.

    ``data`` is the reference as it was given.
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
    """Percentage of correct keypoints for all methods on the same pairs and points of every reference.

    Args:
        data: References as :func:`dd_sfm.evaluation.matching.reference.open_reference` takes them.
        methods: What is measured.
        working_height_px: Height of the field of view in working pixels.
        gaps: Distances between the frames of a pair.
        thresholds_px: In source pixels; in working pixels with ``in_working_px``.
        in_working_px: See there.
        pairs_per_gap: Most pairs a gap.
        progress: Shows the pairs.

    Raises:
        InputError: If a reference cannot be opened or no gap has a pair.
    """
    results = []
    for text in data:
        reference = open_reference(text, working_height_px)
        scale = reference.grid.scale
        limits = [t / scale if in_working_px else t for t in thresholds_px]
        for name, matcher in (named for method in methods for named in method.make().items()):
            rows = pck_table(
                matcher, reference, gaps=gaps, thresholds_px=limits, pairs_per_gap=pairs_per_gap, progress=progress
            )
            results += [MatchingResult(text, name, row, scale) for row in rows]
    return results


def matching_json(results: Sequence[MatchingResult]) -> list[dict[str, Any]]:
    """Results as JSON holds them."""
    return [{"data": r.data, "method": r.method, **asdict(r.row), "working_px_per_source_px": r.scale} for r in results]
