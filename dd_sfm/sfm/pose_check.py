"""Which frames of a model are where it puts them, by evidence that the mapper did not use.

Two kinds of it: matches that the mapper was not given (:mod:`dd_sfm.sfm.pair_support`), and a frame's place by points
of one side alone (:mod:`dd_sfm.sfm.side_poses`). A frame is wrong where both of its sides contradict it. A model bends
or changes its scale between two frames where what links those up to one with those from the other on contradicts it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres
from dd_sfm.sfm.pair_support import PairSupport, pair_supports
from dd_sfm.sfm.side_poses import INFLATION, WINDOW, SidePose, SidePoses
from dd_sfm.structures import FloatArray, Tracks

AGREEING = 0.8
"""Least share of the matches of a side that agree with the model, of those that could, relative to the model's
median."""
EXPLAINED = 0.7
"""The same for the points of a side that a frame sees."""
PATH_SHARE, STEP_SHARE = 0.03, 0.36
"""A place is not known where it may be off by more than these shares of the path and of a step along it, both..."""
TIMES_MEDIAN = 3.0
"""...and by so many times what is usual in the model."""
SIGMAS = 2.5
"""A place is another one than the model's where it is that far off, and by so many of its standard deviations."""
DOUBTFUL_SHARE = 1 / 3
"""Of what a place may be off, from which on a model is adjusted before it is judged."""
LEAST_FRAMES = 3
"""Fewest frames of a model. Fewer that hang on others need a known distance to these."""
MOST_WEIGHT = 100
"""Matches of one pair count at most so often: neighbours share many, and are seldom wrong towards each other."""

MATCHES, PLACE, UNSURE, NOTHING, TOO_FEW = (
    "matches that the mapper did not use contradict its pose",
    "its place by what other frames measured is another one",
    "its place by what other frames measured is not known well enough",
    "nothing that the mapper did not use confirms its pose",
    "too few frames are left of the part of the model that it was in",
)
"""Why a frame, or what links two parts of a model, does not hold."""
OF_SEVERAL = {
    MATCHES: "matches that the mapper did not use contradict their poses",
    PLACE: "their places by what other frames measured are other ones",
    UNSURE: "their places by what other frames measured are not known well enough",
    NOTHING: "nothing that the mapper did not use confirms their poses",
    TOO_FEW: "too few frames are left of the parts of the model that they were in",
}
"""The same of several frames."""


@dataclass(frozen=True)
class PoseCheck:
    """What was found about a model.

    ``parts``: positions of frames that hold together, largest part first; ``wrong``: why the others do not hold, by
    position; ``broken``: why parts do not hold together, by the first frame after the break; ``confidence``: in [0, 1]
    by position, see :func:`check_poses`; ``doubtful``: whether there is anything that a better adjustment may settle.
    """

    parts: list[list[int]]
    wrong: dict[int, str]
    broken: dict[int, str]
    confidence: dict[int, float]
    doubtful: bool

    @property
    def lacks_places_alone(self) -> bool:
        """Whether the model was split, but only where one side of a frame does not confirm its place.

        With little parallax the points of one side are off together, more than their errors tell, so that what looks
        like another place (:data:`PLACE`) may be none.
        """
        return bool(self.broken) and not self.wrong and set(self.broken.values()) <= {PLACE, UNSURE}


def check_together(
    poses: Mapping[int, FloatArray], sigma: FloatArray, pairs: Sequence[PairSupport]
) -> PoseCheck | None:
    """What is found about a model whose frames' places are known by all observations together; None if they are not.

    One side of a frame alone measures points badly where the camera has hardly moved, as then do all sides. The
    confidence is the share of a frame's matches that agree, of those that could, or exp(-x^2 / 2), x being how far its
    place may be off in units of the largest that is allowed, whichever is smaller.

    Args:
        poses: cam_from_world (3, 4) by frame position.
        sigma: Standard deviations (F,) of the places, by position ascending.
        pairs: The support of the model's pairs.
    """
    positions = sorted(poses)
    centres = camera_centres(np.stack([poses[k] for k in positions]))
    path = float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())
    off = INFLATION * sigma / max(PATH_SHARE * path, STEP_SHARE * path / max(1, len(positions) - 1), 1e-30)
    if not (off <= 1).all():
        return None
    confidence = {}
    for position, known in zip(positions, np.exp(-(off**2) / 2).tolist(), strict=True):
        share = _share(pair for pair in pairs if position in (pair.first, pair.second))
        confidence[position] = round(min(known, 1.0 if share is None else share), 3)
    return PoseCheck([positions], {}, {}, confidence, doubtful=True)


def check_poses(
    tracks: Tracks,
    held_out: NDArray[np.bool_],
    poses: Mapping[int, FloatArray],
    camera: PinholeCamera,
    scale: float,
    seed: int,
) -> PoseCheck:
    """Check every frame of a model, and what links its parts.

    The confidence of a frame is the share of the matches with other frames that agree with its pose, of those that
    could, times exp(-x^2 / 2), x being how far its place may be off by what one side measured in units of the largest
    that is allowed, and the same of the weakest link between it and the middle of its part.

    Args:
        tracks: All tracks.
        held_out: Which tracks (T,) the mapper was not given.
        poses: cam_from_world (3, 4) by frame position.
        camera: The camera.
        scale: Factor on thresholds in pixels.
        seed: Of random choices.
    """
    pairs = pair_supports(tracks, held_out, poses, camera, scale)
    evidence, wrong = _Evidence.of(SidePoses(tracks, poses, camera, scale, seed), pairs).without_wrong()
    whole, broken = [evidence], dict[int, str]()
    parts: list[_Evidence] = []
    while whole:
        # Only what is within a part counts for it: pairs that reach over a bend contradict all links that they cross.
        part = whole.pop()
        found = part.weakest_link()
        if found is None:
            parts.append(part)
            continue
        broken[found[0]] = found[1]
        whole += part.split(found[0])
    parts.sort(key=lambda part: (-len(part.positions), part.positions[0]))
    confidence = {k: c for part in parts for k, c in part.confidence().items()}
    doubtful = bool(wrong or broken or any(part.is_loose() for part in parts))
    return PoseCheck([part.positions for part in parts], wrong, broken, confidence, doubtful)


@dataclass(frozen=True)
class _Verdict:
    """Of one side of a frame: the share of matches that agree, with how many frames, and why not, or ""."""

    share: float
    partners: int
    reason: str


@dataclass(frozen=True)
class _Evidence:
    """What is known of frames of a model, by position ascending; ``sides`` by frame and whether it is after."""

    placed: SidePoses
    positions: list[int]
    pairs: list[PairSupport]
    sides: dict[tuple[int, bool], SidePose]
    path: float
    step: float
    usual: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of(cls, placed: SidePoses, pairs: list[PairSupport]) -> "_Evidence":
        """The evidence of a whole model; ``usual`` shares and distances are those of all of its frames."""
        positions = placed.positions.tolist()
        path = float(np.linalg.norm(np.diff(placed.centres, axis=0), axis=1).sum())
        first = cls(placed, positions, pairs, {}, path, path / max(1, len(positions) - 1))
        first.place((number, is_after) for number in range(len(positions)) for is_after in (False, True))
        shares = [share for k in positions[1:] if (share := first.link_share(k)) is not None]
        offs = [side.off for k in positions[1:] if (side := first.link_side(k)) is not None]
        usual = float(np.median(shares)) if shares else 1.0, float(np.median(offs)) if offs else 0.0
        return replace(first, usual=usual)

    def place(self, wanted: Iterable[tuple[int, bool]]) -> None:
        """Place frames anew, by their numbers in ``positions`` and whether by those after them."""
        numbers = list(wanted)
        if not numbers:
            return
        for number, is_after in numbers:
            self.sides.pop((self.positions[number], is_after), None)
        start = max(0, min(numbers)[0] - WINDOW)
        near = self.positions[start : max(numbers)[0] + WINDOW + 1]
        for side in self.placed.of(near, [(number - start, is_after) for number, is_after in numbers]):
            self.sides[side.frame, side.is_after] = side

    def without_wrong(self) -> "tuple[_Evidence, dict[int, str]]":
        """The same without the frames that are contradicted, the worst one first, and why these are."""
        left = replace(self, positions=list(self.positions), sides=dict(self.sides))
        wrong: dict[int, str] = {}
        against = {k: told for k in left.positions if (told := left.against(k)) is not None}
        while against and len(left.positions) > 2:
            _, frame, wrong[frame] = min(against.values())
            del against[frame]
            for k in left.take_out(frame):
                told = left.against(k)
                if told is not None:
                    against[k] = told
                else:
                    against.pop(k, None)
        pairs = [pair for pair in left.pairs if pair.first not in wrong and pair.second not in wrong]
        return replace(left, pairs=pairs), wrong

    def take_out(self, frame: int) -> set[int]:
        """Forget a frame, and place those near it anew; those of which anything else is known now."""
        rank = bisect_left(self.positions, frame)
        del self.positions[rank]
        start, end = max(0, rank - WINDOW), min(len(self.positions), rank + WINDOW)
        self.place((number, number < rank) for number in range(start, end))
        touched = set(self.positions[start:end])
        for is_after in (False, True):
            self.sides.pop((frame, is_after), None)
            for pair in self._pairs_of.pop((frame, is_after), []):
                partner = pair.second if is_after else pair.first
                self._pairs_of[partner, not is_after].remove(pair)
                touched.add(partner)
        return touched

    @property
    def least_share(self) -> float:
        """Of the matches that agree."""
        return AGREEING * min(1.0, self.usual[0])

    @property
    def most_off(self) -> float:
        """How far a place may be off."""
        return max(PATH_SHARE * self.path, STEP_SHARE * self.step, TIMES_MEDIAN * self.usual[1])

    def contradicts(self, side: SidePose) -> bool:
        """Whether a frame's place by one side is another one than the model's."""
        is_off = side.away > max(self.most_off, SIGMAS * side.sigma)
        return is_off or side.agreeing < EXPLAINED * side.best

    def holds(self, side: SidePose) -> bool:
        """Whether a frame's place by one side is that of the model, and known."""
        return side.off <= self.most_off and side.agreeing >= EXPLAINED * side.best

    def against(self, frame: int) -> tuple[float, int, str] | None:
        """What speaks against a frame that no side of it confirms: the share that agrees, the frame, and why."""
        told = [v for is_after in (False, True) if (v := self._side_verdict(frame, is_after)) is not None]
        if not told:
            return -1.0, frame, NOTHING
        contrary = [verdict for verdict in told if verdict.reason]
        # One frame alone does not confirm what all on the other side contradict.
        if not contrary or any(not verdict.reason and verdict.partners >= 2 for verdict in told):
            return None
        worst = min(contrary, key=lambda verdict: verdict.share)
        return worst.share, frame, worst.reason

    def _side_verdict(self, frame: int, is_after: bool) -> "_Verdict | None":
        """What one side of a frame has to say; None without anything."""
        pairs = self._pairs_of.get((frame, is_after), [])
        share, side = _share(pairs), self.sides.get((frame, is_after))
        if share is None and side is None:
            return None
        partners = max(len(pairs), 0 if side is None else 2)
        if share is not None and share < self.least_share:
            return _Verdict(share, partners, MATCHES)
        is_off = side is not None and self.contradicts(side)
        return _Verdict(1.0 if share is None else share, partners, PLACE if is_off else "")

    @cached_property
    def _rank(self) -> dict[int, int]:
        return {position: rank for rank, position in enumerate(self.positions)}

    @cached_property
    def _pairs_of(self) -> dict[tuple[int, bool], list[PairSupport]]:
        """The pairs of each frame with frames after it, and with those before it."""
        found: dict[tuple[int, bool], list[PairSupport]] = {}
        for pair in self.pairs:
            found.setdefault((pair.first, True), []).append(pair)
            found.setdefault((pair.second, False), []).append(pair)
        return found

    @cached_property
    def _over_links(self) -> FloatArray:
        """Of the pairs that reach over the link before each frame: matches that agree, and that could, (2, N + 1).

        A pair is added at the first link that it crosses, and taken off after the last one.
        """
        steps = np.zeros((2, len(self.positions) + 1))
        table = np.array([(p.first, p.second, p.agreeing, p.best) for p in self.pairs], np.int64).reshape(-1, 4)
        weight = np.minimum(table[:, 3], MOST_WEIGHT)
        first, second = (np.searchsorted(self.positions, table[:, k]) + 1 for k in (0, 1))
        for row, counts in enumerate((weight * table[:, 2] / table[:, 3], weight)):
            np.add.at(steps[row], first, counts)
            np.subtract.at(steps[row], second, counts)
        return np.cumsum(steps, axis=1)

    def link_share(self, frame: int) -> float | None:
        """The share of matches that agree, between frames before one and those from it on; None without any."""
        agreeing, weights = self._over_links[:, self._rank[frame]]
        return float(agreeing / weights) if weights else None

    def link_side(self, frame: int) -> SidePose | None:
        """The surest place across the link before a frame: of this one by those before it, or the other way round."""
        before = self.positions[self._rank[frame] - 1]
        sides = [self.sides.get((frame, False)), self.sides.get((before, True))]
        return min((side for side in sides if side is not None), key=lambda side: side.off, default=None)

    def weakest_link(self) -> tuple[int, str] | None:
        """Where frames hang least on those before them: the first of them, and why not; None where all do."""
        found = []
        for rank, frame in list(enumerate(self.positions))[1:]:
            share, side = self.link_share(frame), self.link_side(frame)
            is_rim = min(rank, len(self.positions) - rank) < LEAST_FRAMES <= len(self.positions) // 3
            if share is None and side is None:
                found.append((-1.0, frame, NOTHING))
            elif share is not None and share < self.least_share:
                found.append((share, frame, MATCHES))
            elif not self.holds(side) if side is not None else is_rim:
                why = PLACE if side is not None and self.contradicts(side) else UNSURE
                found.append((1.0 if share is None else share, frame, why))
        return min(found)[1:] if found else None

    def split(self, frame: int) -> "tuple[_Evidence, _Evidence]":
        """Those before a frame, and those from it on, each by what is within it."""
        rank = bisect_left(self.positions, frame)
        before = self._of(self.positions[:rank], [pair for pair in self.pairs if pair.second < frame])
        after = self._of(self.positions[rank:], [pair for pair in self.pairs if pair.first >= frame])
        # Points that the other part has measured, too, tell nothing of this one.
        before.place((number, True) for number in range(max(0, rank - WINDOW), rank))
        after.place((number, False) for number in range(min(WINDOW, len(after.positions))))
        return before, after

    def _of(self, positions: list[int], pairs: list[PairSupport]) -> "_Evidence":
        keys = ((k, is_after) for k in positions for is_after in (False, True))
        return replace(
            self, positions=positions, pairs=pairs, sides={key: self.sides[key] for key in keys if key in self.sides}
        )

    def is_loose(self) -> bool:
        """Whether a place is known so badly that adjusting the model may better it."""
        sides = (self.link_side(frame) for frame in self.positions[1:])
        return any(side is None or side.off > DOUBTFUL_SHARE * self.most_off for side in sides)

    def confidence(self) -> dict[int, float]:
        """How far each frame can be trusted."""
        links = np.array([self._link_confidence(frame) for frame in self.positions[1:]])
        middle = len(self.positions) // 2
        before, after = np.minimum.accumulate(links[:middle][::-1])[::-1], np.minimum.accumulate(links[middle:])
        found = {}
        for frame, weakest in zip(self.positions, [*before, 1.0, *after], strict=True):
            share = _share(p for is_after in (False, True) for p in self._pairs_of.get((frame, is_after), []))
            found[frame] = round(float(min(1.0 if share is None else share, weakest)), 3)
        return found

    def _link_confidence(self, frame: int) -> float:
        share, side = self.link_share(frame), self.link_side(frame)
        off = 1.0 if side is None else side.off / self.most_off
        return (1.0 if share is None else share) * float(np.exp(-(off**2) / 2))


def _share(pairs: Iterable[PairSupport]) -> float | None:
    """The share of the matches of some pairs that agree with the model, of those that could; None without any."""
    weights, agreeing = 0.0, 0.0
    for pair in pairs:
        weight = min(pair.best, MOST_WEIGHT)
        weights += weight
        agreeing += weight * pair.agreeing / pair.best
    return agreeing / weights if weights else None
