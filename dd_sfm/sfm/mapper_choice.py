"""Which mapper's result is taken: they are tried in order until one holds up."""

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, Mapper
from dd_sfm.errors import ReconstructionError
from dd_sfm.io.colmap_database import largest_linked
from dd_sfm.progress import Progress
from dd_sfm.sfm.mappers import (
    MIN_MATCHES,
    MappedModel,
    MapperStoppedError,
    MapperTask,
    Poses,
    read_models,
    run_mapper,
)
from dd_sfm.sfm.model_folders import candidate_folder, keep_models
from dd_sfm.sfm.pairs import join_groups
from dd_sfm.sfm.pose_check import LEAST_FRAMES
from dd_sfm.sfm.rival_models import refutations
from dd_sfm.sfm.scale_check import largest_scale_jump, scale_ratios
from dd_sfm.sfm.sound_models import ModelChecker, SoundModel, SoundModels
from dd_sfm.structures import FrameSet, Tracks, VerifiedPairs

logger = logging.getLogger(__name__)

WORTH_WITH_JUMP = 0.67
"""A result whose scale jumps counts as if a third of its frames were missing."""
LEAST_LIMIT_S, LIMIT_TIMES = 120.0, 10.0
"""A further mapper may take so many seconds, or so many times what the longest one before it took."""


@dataclass(frozen=True)
class Candidate:
    """A mapper's result and how it was judged.

    ``models``: poses and camera of each reconstruction, largest first; ``jump``: the largest change of scale along
    the path of the first, as a factor, and ``jump_frame`` where that is; ``ended_s``: seconds after which it was ended,
    None where it came to its own end; ``ended``: the same of all mappers that were tried, in the best result;
    ``sound``: the parts of the models that hold, None where that was not checked; ``is_refuted``: whether
    another result explains the same frames far better.
    """

    mapper: str
    models: list[MappedModel]
    jump_frame: int | None
    jump: float
    ended_s: float | None = None
    ended: Mapping[str, float] = field(default_factory=dict)
    sound: SoundModels | None = None
    is_refuted: bool = False

    @property
    def poses(self) -> list[Poses]:
        """Poses of each model."""
        return [model.poses for model in self.models]

    @property
    def cameras(self) -> list[PinholeCamera]:
        """Camera of each model."""
        return [model.camera for model in self.models]

    @property
    def registered(self) -> int:
        """Frames of the largest model."""
        return len(self.models[0].poses) if self.models else 0

    @property
    def claim(self) -> MappedModel | SoundModel | None:
        """What it would be taken for: the largest part that holds, or the largest model where nothing does."""
        if self.sound is not None and self.sound.models:
            return self.sound.models[0]
        return self.models[0] if self.models else None

    @property
    def holding(self) -> int:
        """Frames of the largest model that hold."""
        return self.registered if self.sound is None else self.sound.largest


def try_mappers(
    frames: FrameSet,
    tracks: Tracks,
    out: Path,
    config: Config,
    progress: Progress,
    pairs: VerifiedPairs,
    *,
    checker: ModelChecker | None = None,
) -> tuple[Candidate, dict[str, float]]:
    """Try the configured mappers until one's result holds up.

    With a ``checker`` frames count that hold, and only the poses are used, as :func:`run_mapper` wants to know.

    Returns:
        The best result, and the seconds of each mapper that was tried.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    candidates: list[Candidate] = []
    seconds: dict[str, float] = {}
    linked = largest_linked(out / "database.db", min(MIN_MATCHES, config.map.min_inliers))
    possible = min(joined_frames(frames, tracks, config.map.min_inliers), linked)
    given = MapperInputs(frames, tracks, out, config, progress, checker)
    for mapper in config.map.mappers:
        started = time.monotonic()
        try:
            candidates.append(_try_mapper(mapper, given, _time_limit(seconds, config)))
            seconds[mapper] = round(time.monotonic() - started, 2)
            if checker is not None:
                started = time.monotonic()
                candidates[-1] = replace(candidates[-1], sound=checker.sound(candidates[-1].models))
                seconds["check"] = round(seconds.get("check", 0.0) + time.monotonic() - started, 2)
        except MapperStoppedError as stopped:
            _keep_best(out, [*candidates, _judged(mapper, read_models(stopped.found, frames), given)], config)
            raise
        except KeyboardInterrupt:
            _keep_best(out, candidates, config)
            raise
        logger.info("map: %s: %s, of %d that may be joined", mapper, _describe(candidates[-1], frames), possible)
        candidates = _with_refuted(candidates, checker)
        if _holds_up(best_candidate(candidates, config.map.max_scale_jump), possible, config) and (
            len(candidates) > 1 or not _needs_rival(candidates[-1], checker)
        ):
            break
    best = best_candidate(candidates, config.map.max_scale_jump)
    if best.registered < LEAST_FRAMES:
        raise ReconstructionError(
            f"{out / 'database.db'}: no model from {len(frames)} frames ({pairs.verified} of {pairs.tried} pairs "
            f"verified, {pairs.matches} matches); {_no_model_hint(pairs)}"
        )
    return replace(best, ended={c.mapper: c.ended_s for c in candidates if c.ended_s is not None}), seconds


@dataclass(frozen=True)
class MapperInputs:
    """What all mappers are tried on."""

    frames: FrameSet
    tracks: Tracks
    out: Path
    config: Config
    progress: Progress
    checker: ModelChecker | None


def _time_limit(seconds: Mapping[str, float], config: Config) -> float | None:
    """Seconds that a further mapper may take; the first one may take any time, and all where a run is to repeat."""
    if not seconds or config.runtime.deterministic:
        return None
    return max(LEAST_LIMIT_S, LIMIT_TIMES * max(seconds.values()))


def _keep_best(out: Path, candidates: list[Candidate], config: Config) -> None:
    """Leave the best model that was found until the user stopped in ``poses/0``, for those who want it as it is."""
    best = best_candidate(candidates, config.map.max_scale_jump) if candidates else None
    if best is not None and best.registered:
        keep_models(out, best.mapper, [model.folder for model in best.models])


def _no_model_hint(pairs: VerifiedPairs) -> str:
    """Why no mapper found a model, and what to do."""
    # Two pairs are three frames.
    if pairs.verified < 2:
        return (
            "at least 3 frames with common points needed. Try a lower --every, a calibration, or --set "
            "map.min_inliers=12"
        )
    return (
        "no pair of them has the parallax and the inliers to start from, or no third frame joins it. Try more frames; "
        "a higher --every where the camera hardly moves between them, a lower one where it moves far; a calibration"
    )


def _try_mapper(mapper: Mapper, given: MapperInputs, most_s: float | None) -> Candidate:
    """Run a mapper and judge its largest model; a guessed focal length that runs away is held in a second try."""
    guess, config = given.frames.camera, given.config
    started = time.monotonic()
    models = _run(mapper, given, most_s, refine_focal=guess.is_free)
    if guess.is_free and models and not _focal_in_bounds(models[0].camera, guess, config):
        logger.warning("map: %s: focal length ran away to %.0f px; kept at the guess", mapper, models[0].camera.fx)
        left = None if most_s is None else most_s - (time.monotonic() - started)
        models = _run(mapper, given, left, refine_focal=False)
    is_ended = most_s is not None and mapper != "global" and time.monotonic() - started >= most_s
    return replace(_judged(mapper, models, given), ended_s=most_s if is_ended else None)


def _judged(mapper: Mapper, models: list[MappedModel], given: MapperInputs) -> Candidate:
    jump_frame, jump = None, 1.0
    if models:
        jump_frame, jump = largest_scale_jump(scale_ratios(given.tracks, models[0].poses, models[0].camera))
    return Candidate(mapper, models, jump_frame, jump)


def _run(mapper: Mapper, given: MapperInputs, most_s: float | None, *, refine_focal: bool) -> list[MappedModel]:
    folder = candidate_folder(given.out, mapper)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    task = MapperTask(
        given.out / "database.db",
        given.frames.frames[0].path.parent,
        folder,
        given.config,
        refine_focal=refine_focal,
        poses_only=given.checker is not None,
        frames=len(given.frames),
        most_s=most_s,
        progress=given.progress,
    )
    return read_models(run_mapper(mapper, task), given.frames)


def _focal_in_bounds(camera: PinholeCamera, guess: PinholeCamera, config: Config) -> bool:
    low, high = config.map.focal_bounds
    return low * guess.fx <= camera.fx <= high * guess.fx


def joined_frames(frames: FrameSet, tracks: Tracks, least: int) -> int:
    """The most frames that one model may hold: those of the largest group of pieces that tracks join."""
    pieces = frames.pieces
    if len(pieces) == 1:
        return len(frames)
    piece = np.repeat(np.arange(len(pieces)), [len(some) for some in pieces])[tracks.frame]
    seen = np.zeros((len(pieces), tracks.count), np.bool_)
    seen[piece, tracks.track] = True
    pairs = [{i, j} for i, j in combinations(range(len(pieces)), 2) if (seen[i] & seen[j]).sum() >= least]
    return max(sum(len(pieces[number]) for number in group) for group in join_groups(len(pieces), pairs))


def _needs_rival(candidate: Candidate, checker: ModelChecker | None) -> bool:
    """Whether a result is to be compared with another one before it is taken: with little parallax it may be wrong."""
    claim = candidate.claim
    return checker is not None and claim is not None and checker.has_little_parallax(claim.poses, claim.camera)


def _with_refuted(candidates: list[Candidate], checker: ModelChecker | None) -> list[Candidate]:
    """The results with those marked that the last one refutes, and it where others do; those before are compared."""
    if checker is None or len(candidates) < 2:
        return candidates
    claims, models = [c.claim for c in candidates], [c.models[0] if c.models else None for c in candidates]
    refuted = set()
    for found in refutations(claims, models, checker, compared=len(candidates) - 1):
        one, other = candidates[found.number].mapper, candidates[found.by].mapper
        logger.info("map: %s: refuted by %s, whose tracks fit %.1f times better", one, other, found.times)
        refuted.add(found.number)
    return [replace(some, is_refuted=some.is_refuted or k in refuted) for k, some in enumerate(candidates)]


def _holds_up(candidate: Candidate, possible: int, config: Config) -> bool:
    enough = candidate.holding >= config.map.min_registered * possible
    return enough and candidate.jump <= config.map.max_scale_jump


def best_candidate(candidates: list[Candidate], max_scale_jump: float) -> Candidate:
    """The result of which most frames hold, or else are registered; with a jump in scale at :data:`WORTH_WITH_JUMP`.

    One that is refuted is taken only where all others are, or are none.
    """

    def key(candidate: Candidate) -> tuple[bool, bool, float, float]:
        worth = 1.0 if candidate.jump <= max_scale_jump else WORTH_WITH_JUMP
        is_model = candidate.registered >= LEAST_FRAMES
        return is_model, not candidate.is_refuted, candidate.holding * worth, candidate.registered * worth

    return max(candidates, key=key)


def _describe(candidate: Candidate, frames: FrameSet) -> str:
    sizes = "+".join(str(len(poses)) for poses in candidate.poses) or "0"
    return f"{sizes} of {len(frames)} frames, {candidate.holding} hold, largest change of scale {candidate.jump:.2f}"
