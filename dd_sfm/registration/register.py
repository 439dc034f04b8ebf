"""Register a cloud to a surface: from starts to the place that fits best, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from dd_sfm.cameras import rotation_angles_deg
from dd_sfm.errors import ReconstructionError
from dd_sfm.progress import Part, Progress, begin_stage, plan_ahead, silent
from dd_sfm.registration.certainty import (
    DECIDED_SHARE,
    EQUAL_SCORE,
    Direction,
    Directions,
    directions,
    displacement,
    words,
)
from dd_sfm.registration.icp import CAP_SHARE, Schedule, match, refine, score
from dd_sfm.registration.moving import Moving
from dd_sfm.registration.starts import APART_SHARE, Range, around, distinct, inside, search
from dd_sfm.registration.target import Target
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.structures import FloatArray

Verdict = Literal["decided", "undecided", "fits nowhere"]
COARSE, FINE = Schedule((0.6, 0.08), 18, 6), Schedule((0.1, 0.04), 8, 10)
ROUGH = Schedule((0.5, 0.15), 9, 0)
PROBE = Schedule((0.25, 0.05), 10, 6)
ROUGH_POINTS, COARSE_POINTS, MEDIUM_POINTS, FINE_POINTS = 120, 400, 1000, 5000
COARSE_SAMPLES = 30_000
RESTARTS, SEARCHED, TRIED = 32, 700, 48
"""Starts around one that is given; places of a search of the whole surface, and those of them that are tried further
after a few rough steps."""
FEWEST_MATCHES = 12
"""Fewest points that find the surface where a cloud is said to lie on it."""
FINALISTS = 6
CONFIRMED = 0.25
"""A place further from the start than it may be is believed where this share of the starts end there."""
PROBES = 0.12, 0.4
"""Of the cloud's radius: how far it is moved along the least certain directions, to see whether it comes back."""
PROBED = 3
MOST_FITTING = 0.6
"""A registration fits whose score is at most this share of what it would be if no point were near the surface."""
EXPECTED = tuple(
    Part(step, step, seconds)
    for step, seconds in (("search", 3.0), ("places", 4.0), ("starts", 6.0), ("other places", 5.0))
)
"""Steps, and seconds that they take on a usual machine."""


@dataclass(frozen=True)
class Settings:
    """How a cloud is registered.

    ``start``: roughly where it is, None where that is not known; ``within``: how far from the truth the start may be;
    ``scale``: of the cloud's unit in the surface's, None where it is open; ``seed``: of all random choices; ``unit``:
    the surface's, in words.
    """

    start: Similarity | None = None
    within: Range = field(default_factory=Range)
    scale: float | None = None
    seed: int = 0
    unit: str = "mm"


@dataclass(frozen=True)
class Place:
    """Where a cloud may be: the transform, its score (see :func:`dd_sfm.registration.icp.score`), and on which side of
    the surface its points lie.
    """  # fmt: skip

    at: Similarity
    score: float
    side: float


@dataclass(frozen=True)
class Registration:
    """A cloud registered to a surface.

    ``similarity`` maps the cloud to the surface; ``residual`` (P,): distance of every point from the surface, in the
    surface's unit; ``others``: places that fit as well; ``directions``: how well each is held; ``fits``: whether the
    cloud lies on the surface at all; ``starts``: how many there were, and ``agreeing``: how many of them ended here;
    ``reasons``: why it is not decided, in words, empty where it is; where it fits nowhere that alone.
    """

    similarity: Similarity
    cloud: Moving
    residual: FloatArray
    score: float
    others: tuple[Place, ...]
    directions: Directions
    fits: bool
    starts: int
    agreeing: int
    reasons: tuple[str, ...]
    unit: str

    @property
    def ambiguous(self) -> bool:
        """Whether it is not decided."""
        return bool(self.reasons)

    @property
    def verdict(self) -> Verdict:
        """What came of it, in one word or a few."""
        if not self.fits:
            return "fits nowhere"
        return "undecided" if self.ambiguous else "decided"

    @cached_property
    def xyz(self) -> FloatArray:
        """The cloud's points (P, 3) in place."""
        return self.similarity.points(self.cloud.xyz)

    @property
    def radius(self) -> float:
        """Root mean square distance of the points in place from their centre."""
        return self.cloud.radius * self.similarity.scale


@dataclass(frozen=True)
class _Levels:
    """The cloud and the surface from coarse to fine."""

    handful: Moving
    few: Moving
    some: Moving
    many: Moving
    rough: Target
    full: Target
    scale_sigma: float | None

    def rough_place(self, start: Similarity) -> Place:
        """Where a few steps lead from a start."""
        at, side = refine(self.handful, self.rough, start, ROUGH, scale_sigma=self.scale_sigma)
        return Place(at, score(self.few, self.rough, at, side, ROUGH.reach[1]), side)

    def coarse(self, start: Similarity, schedule: Schedule) -> Place:
        """Where a start leads on the coarse level."""
        at, side = refine(self.few, self.rough, start, schedule, scale_sigma=self.scale_sigma)
        return Place(at, score(self.some, self.rough, at, side), side)

    def is_there(self, place: Place) -> bool:
        """Whether enough points find the surface from a place."""
        reach = CAP_SHARE * self.some.radius * place.at.scale
        return int(match(self.some, self.rough, place.at, reach, place.side)[1].used.sum()) >= FEWEST_MATCHES

    def fine(self, start: Similarity) -> Place:
        """Where a place ends on the finest level."""
        at, _ = refine(self.some, self.full, start, FINE, scale_sigma=self.scale_sigma)
        at, side = refine(self.many, self.full, at, replace(FINE, steps=3), scale_sigma=self.scale_sigma)
        return Place(at, score(self.many, self.full, at, side), side)


def register(cloud: Moving, target: Target, settings: Settings, progress: Progress = silent) -> Registration:
    """Register a cloud to a surface.

    Args:
        cloud: The points, with normals where they have any.
        target: The surface.
        settings: Where to start, and what is known.
        progress: Shows how many starts are done.

    Raises:
        ReconstructionError: If no start leads anywhere.
    """
    known = settings.scale is not None
    many = cloud.thinned(FINE_POINTS)
    some = many.thinned(MEDIUM_POINTS)
    few = some.thinned(COARSE_POINTS)
    levels = _Levels(
        few.thinned(ROUGH_POINTS), few, some, many, target.thinned(COARSE_SAMPLES), target, 0.0 if known else None
    )
    plan_ahead(progress, EXPECTED if settings.start is None else EXPECTED[2:])
    starts = _starts(levels, settings, progress)
    begin_stage(progress, "starts")
    coarse = [levels.coarse(start, COARSE) for start in progress(starts, total=len(starts), label="starts")]
    places = _finished(levels, _possible(levels, coarse, settings)) if any(map(levels.is_there, coarse)) else []
    if not any(map(levels.is_there, places)):
        raise ReconstructionError(
            "register: no start leads to the surface; expected one from which points find it. Give another with "
            "--initial or --pairs, or none to search the whole surface"
        )
    best = places[0]
    held = directions(levels.many, target, best.at, best.side, scale_known=known)
    probes = [
        held.displaced(best.at, d, sign * share * held.radius)
        for d in held.all[:PROBED]
        for share in PROBES
        for sign in (-1, 1)
    ]
    begin_stage(progress, "other places")
    probed = [levels.coarse(start, PROBE) for start in progress(probes, total=len(probes), label="other places")]
    places = sorted([*places, *_finished(levels, probed)], key=lambda place: place.score)
    if places[0] is not best:
        best = places[0]
        held = directions(levels.many, target, best.at, best.side, scale_known=known)
    return _judged(cloud, levels, best, places, coarse, held, settings)


def _starts(levels: _Levels, settings: Settings, progress: Progress) -> Sequence[Similarity]:
    """Around the start that is given, else anywhere."""
    if settings.start is None:
        begin_stage(progress, "search")
        for _ in progress([None], total=1, label="search"):
            found = search(levels.some, levels.rough, settings.scale, SEARCHED, settings.seed)
        begin_stage(progress, "places")
        rough = [levels.rough_place(start) for start in progress(found, total=len(found), label="places")]
        rough.sort(key=lambda place: place.score)
        return distinct([place.at for place in rough], levels.some, TRIED, APART_SHARE / 2)
    known = settings.scale is not None
    return around(settings.start, levels.some, settings.within, RESTARTS, settings.seed, scale_known=known)


def _possible(levels: _Levels, coarse: list[Place], settings: Settings) -> list[Place]:
    """The places within the range around a start; all, where there are none, or many starts ended at the best."""
    start = settings.start
    best = min(coarse, key=lambda place: place.score)
    if start is None or _agreeing(levels, coarse, best) >= CONFIRMED * len(coarse):
        return coarse
    return [place for place in coarse if inside(place.at, start, levels.some, settings.within)] or coarse


def _agreeing(levels: _Levels, coarse: list[Place], best: Place) -> int:
    """How many starts ended where the best place is."""
    least = 2 * DECIDED_SHARE * levels.some.radius * best.at.scale
    return sum(displacement(levels.some, place.at, best.at) < least for place in coarse)


def _finished(levels: _Levels, coarse: list[Place]) -> list[Place]:
    """The best of some places, each once, refined; best first."""
    ranked = sorted(coarse, key=lambda place: place.score)
    scores = {id(place.at): place for place in ranked}
    chosen = distinct([place.at for place in ranked], levels.some, FINALISTS, DECIDED_SHARE)
    worst = 2 * ranked[0].score
    fine = [levels.fine(at) for at in chosen if scores[id(at)].score <= worst]
    return sorted(fine, key=lambda place: place.score)


def _judged(
    cloud: Moving,
    levels: _Levels,
    best: Place,
    places: list[Place],
    coarse: list[Place],
    held: Directions,
    settings: Settings,
) -> Registration:
    """The result, with why it is not decided if it is not."""
    radius = cloud.radius * best.at.scale
    least = DECIDED_SHARE * radius
    equal = [
        p for p in places if p.score <= EQUAL_SCORE * best.score and displacement(levels.some, p.at, best.at) > least
    ]
    kept = {id(at) for at in distinct([best.at, *(p.at for p in equal)], levels.some, 1 + FINALISTS, DECIDED_SHARE)}
    others: tuple[Place, ...] = tuple(p for p in equal if id(p.at) in kept)
    fits = best.score <= MOST_FITTING * CAP_SHARE
    agreeing = _agreeing(levels, coarse, best)
    residual = levels.full.distances(best.at.points(cloud.xyz))
    if not fits:
        # Where nothing fits, other places that fit as little, and what moves it little, tell nothing.
        reasons = [
            f"the cloud fits nowhere: points lie {100 * best.score:.2g} % of its radius from the surface on average, "
            f"where none counts more than {100 * CAP_SHARE:.2g} %"
        ]
        others = ()
    else:
        reasons = _doubts(levels, best, others, held, settings, is_confirmed=agreeing >= CONFIRMED * len(coarse))
    return Registration(
        best.at, cloud, residual, best.score, others, held, fits, len(coarse), agreeing, tuple(reasons), settings.unit
    )


def _doubts(
    levels: _Levels,
    best: Place,
    others: Sequence[Place],
    held: Directions,
    settings: Settings,
    *,
    is_confirmed: bool,
) -> list[str]:
    """Why a place that fits is not decided, in words; ``is_confirmed``: whether many of the starts ended there."""
    reasons = []
    is_far = settings.start and not inside(best.at, settings.start, levels.some, settings.within)
    if settings.start and is_far and not is_confirmed:
        reasons.append(
            "the best place is further from the start than --within allows: "
            f"{difference(levels.some, settings.start, best.at, settings.unit)}"
        )
    for direction in held.undecided:
        reasons.append(f"undecided {_open_by(direction, held, settings.unit)}")
    for place in others:
        reasons.append(f"fits as well elsewhere: {difference(levels.some, best.at, place.at, settings.unit)}")
    return reasons


def _open_by(direction: Direction, held: Directions, unit: str) -> str:
    if not direction.free:
        return words(direction, 2 * direction.sigma, held.radius, unit)
    return words(direction, max(PROBES) * held.radius, held.radius, unit) + " or more"


def difference(cloud: Moving, first: Similarity, second: Similarity, unit: str) -> str:
    """How a place differs from another, in words."""
    centre = cloud.centre[None]
    away = second.points(centre)[0] - first.points(centre)[0]
    angle = float(rotation_angles_deg((second.rotation @ first.rotation.T)[None])[0])
    return (
        f"moved by {np.linalg.norm(away):.3g} {unit}, turned by {angle:.3g} degrees, scale times "
        f"{second.scale / first.scale:.3f}"
    )


def matrix_of(at: Similarity) -> FloatArray:
    """A transform as a matrix (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = at.scale * at.rotation, at.shift
    return matrix
