"""Where pieces of a run show the same tissue: reference frames of two pieces that match, found by probes.

Frames that look alike as a whole are tried first. A probe is a match of few points. Around pairs that match, the
neighbouring ones are tried too; between pieces that nothing joins so far, more are.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from dd_sfm.sfm.pairs import join_groups, other_targets, piece_of
from dd_sfm.structures import FrameSet

logger = logging.getLogger(__name__)

MATCHES_FROM = 0.15
"""Inlier ratio of a probe from which on two frames show the same tissue."""
FIRST_TRIED = 2
"""Frames of each other piece that are tried for a reference."""
MOST_TRIED = 8
"""Frames of all other pieces together that are tried for a reference at first."""
MORE_TRIED, MORE_OF_ONE = 48, 4
"""Pairs that are tried between two groups of pieces that nothing joins, and such pairs of one frame."""
NEIGHBOURS = ((-1, -1), (0, 1), (1, 0), (1, 1), (0, -1), (-1, 0))
"""Steps, in reference frames, from a pair that matches to the next that are tried."""

Pair = tuple[int, int]
Probe = Callable[[int, int], float]
"""Inlier ratio of the points of one position that are found in another one."""


def without_followed_cuts(frames: FrameSet, probe: Probe) -> FrameSet:
    """The frames in fewer pieces: where those on both sides of a boundary match, the view does follow.

    Frames that are far apart in time look as if there were a cut, to all but descriptors. From one source to the next
    the view never follows: frames that match there do so by chance, or show the same place at another time.

    Args:
        frames: All frames.
        probe: Tells how well two frames match.
    """

    def follows(first: int) -> bool:
        before = first - 1
        if frames.frames[before].source != frames.frames[first].source:
            return False
        return max(probe(before, first), probe(first, before)) >= MATCHES_FROM

    piece, pieces = 0, []
    for number, positions in enumerate(frames.pieces):
        if number and not follows(positions[0]):
            piece += 1
        pieces += [piece] * len(positions)
    logger.info("match: %d pieces, %d with those joined that follow on each other", len(frames.pieces), piece + 1)
    return replace(frames, frames=tuple(replace(f, piece=k) for f, k in zip(frames.frames, pieces, strict=True)))


class PieceLinks:
    """Pairs of reference frames of different pieces that match.

    Args:
        pieces: Positions of the frames of each piece.
        references: Positions of all reference frames, ascending.
        pooled: Unit-norm image descriptors (F, E) of all frames.
        probe: Tells how well two frames match.
        most: Frames of other pieces that a reference is matched with.
    """

    def __init__(
        self, pieces: Sequence[range], references: Sequence[int], pooled: Tensor, probe: Probe, most: int
    ) -> None:
        self.pieces, self.references, self.pooled, self.probe, self.most = pieces, references, pooled, probe, most
        self.ratios: dict[Pair, float] = {}
        """Inlier ratio of every pair tried, the earlier position first."""

    def find(self) -> None:
        """Try pairs, as many as it takes within limits."""
        for reference in self.references:
            piece, tried = piece_of(reference, self.pieces), dict[int, int]()
            for target in other_targets(self.pooled, reference, self.references, piece):
                other = self.number_of(target)
                if tried.get(other, 0) < FIRST_TRIED and sum(tried.values()) < MOST_TRIED:
                    tried[other] = tried.get(other, 0) + 1
                    self._try(reference, target)
        self._try_apart()
        self._grow()
        found = sum(ratio >= MATCHES_FROM for ratio in self.ratios.values())
        logger.info("match: %d of %d pairs of frames of different pieces match", found, len(self.ratios))

    def targets(self, reference: int) -> list[int]:
        """Frames of other pieces that a reference is matched with, the best first."""
        found = {(set(pair) - {reference}).pop(): ratio for pair, ratio in self.ratios.items() if reference in pair}
        good = sorted((t for t, ratio in found.items() if ratio >= MATCHES_FROM), key=lambda t: -found[t])
        return good[: self.most]

    def number_of(self, position: int) -> int:
        """The number of the piece that holds a position."""
        return self.pieces.index(piece_of(position, self.pieces))

    def groups(self) -> list[set[int]]:
        """Numbers of pieces that matching frames join, the group of the earliest piece first."""
        joined = (self._pieces_of(pair) for pair, ratio in self.ratios.items() if ratio >= MATCHES_FROM)
        return join_groups(len(self.pieces), joined)

    def _pieces_of(self, pair: Pair) -> set[int]:
        return {self.number_of(position) for position in pair}

    def _try(self, one: int, other: int) -> float:
        """The inlier ratio of a pair, which is probed at most once."""
        pair = (min(one, other), max(one, other))
        if pair not in self.ratios:
            self.ratios[pair] = self.probe(*pair)
        return self.ratios[pair]

    def _try_apart(self) -> None:
        """Try more pairs between groups of pieces that nothing joins, most alike first."""
        left = self.groups()
        first = left.pop(0)
        while left:
            joins = next((k for k, group in enumerate(left) if self._join(first, group)), None)
            first = left.pop(0) if joins is None else first | left.pop(joins)

    def _join(self, first: set[int], second: set[int]) -> bool:
        ours, theirs = ([r for r in self.references if self.number_of(r) in group] for group in (first, second))
        similarity = self.pooled[ours] @ self.pooled[theirs].t()
        order = similarity.flatten().argsort(descending=True).tolist()
        uses: dict[int, int] = {}
        left = MORE_TRIED
        for place in order:
            one, other = ours[place // len(theirs)], theirs[place % len(theirs)]
            pair = (min(one, other), max(one, other))
            if left == 0:
                break
            if pair in self.ratios or max(uses.get(one, 0), uses.get(other, 0)) >= MORE_OF_ONE:
                continue
            left -= 1
            for position in pair:
                uses[position] = uses.get(position, 0) + 1
            if self._try(*pair) >= MATCHES_FROM:
                return True
        return False

    def _grow(self) -> None:
        """Try the neighbours of pairs that match, as long as their frames have few others."""
        place = {reference: k for k, reference in enumerate(self.references)}
        waiting = [pair for pair, ratio in self.ratios.items() if ratio >= MATCHES_FROM]
        while waiting:
            one, other = waiting.pop(0)
            for step, other_step in NEIGHBOURS:
                near = place[one] + step, place[other] + other_step
                if min(near) < 0 or max(near) >= len(self.references):
                    continue
                first, second = (self.references[k] for k in near)
                pair = (min(first, second), max(first, second))
                same = (self.number_of(first), self.number_of(second)) == (self.number_of(one), self.number_of(other))
                if not same or pair in self.ratios or min(map(self._matching, pair)) >= self.most:
                    continue
                if self._try(*pair) >= MATCHES_FROM:
                    waiting.append(pair)

    def _matching(self, position: int) -> int:
        return sum(position in pair and ratio >= MATCHES_FROM for pair, ratio in self.ratios.items())
