"""Which of several mappers' results is refuted by another one that explains the same frames far better.

Where the camera has hardly moved there is more than one model of what it saw, say one whose relief is turned inside
out and whose camera moves the other way. Each is consistent in itself, so that no check of one model by itself finds
it out; but only the right one explains all tracks to a fraction of a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dd_sfm.sfm.mappers import MappedModel
from dd_sfm.sfm.sound_models import ModelChecker, SoundModel

Posed = MappedModel | SoundModel
"""What has poses by frame position, and a camera."""
WORSE = 1.3
"""A model is refuted by one whose tracks fit so many times better..."""
COMMON_SHARE = 0.5
"""...in frames that are at least this share of the refuted one's..."""
LEAST_COMMON = 3
"""...and at least so many."""


@dataclass(frozen=True)
class Refutation:
    """Of one result by another one, by their numbers; ``times``: how many times better tracks fit the other one."""

    number: int
    by: int
    times: float


def refutations(
    claims: Sequence[Posed | None], models: Sequence[Posed | None], checker: ModelChecker, *, compared: int = 0
) -> list[Refutation]:
    """Which of several results are refuted, and by which others.

    Args:
        claims: What each result would be taken for: of its largest model what holds; None where it has none.
        models: The largest model of each with all of its frames, for comparison.
        checker: Knows the tracks.
        compared: So many of the first were compared with each other before, and are not again.
    """
    found = []
    for number, claim in enumerate(claims):
        for by, rival in enumerate(models):
            if by == number or max(by, number) < compared or claim is None or rival is None:
                continue
            times = _times_worse(claim, rival, checker)
            if times > WORSE:
                found.append(Refutation(number, by, times))
    return found


def _times_worse(claim: Posed, rival: Posed, checker: ModelChecker) -> float:
    """How many times worse tracks fit one than the other, both of their common frames; 1 with too few of these."""
    common = sorted(set(claim.poses) & set(rival.poses))
    if len(common) < max(LEAST_COMMON, COMMON_SHARE * len(claim.poses)):
        return 1.0
    first, second = ({k: some.poses[k] for k in common} for some in (claim, rival))
    cost, other = checker.fit(first, claim.camera).cost, checker.fit(second, rival.camera).cost
    if cost <= WORSE * other:
        return 1.0
    # What a better adjustment mends is no other model.
    return min(cost, checker.adjusted_fit(first, claim.camera).cost) / max(other, 1e-9)
