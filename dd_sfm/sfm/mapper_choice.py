"""Which mapper's result is taken: they are tried in order until one holds up."""

import logging
import shutil
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, Mapper
from dd_sfm.errors import ReconstructionError
from dd_sfm.progress import Progress
from dd_sfm.sfm.mappers import MappedModel, Poses, read_models, run_mapper
from dd_sfm.sfm.pairs import join_groups
from dd_sfm.sfm.scale_check import largest_scale_jump, scale_ratios
from dd_sfm.structures import FrameSet, Tracks, VerifiedPairs

logger = logging.getLogger(__name__)

WORTH_WITH_JUMP = 0.67
"""A result whose scale jumps counts as if a third of its frames were missing."""


@dataclass(frozen=True)
class Candidate:
    """A mapper's result and how it was judged.

    ``models``: poses and camera of each reconstruction, largest first; ``jump``: the largest change of scale along
    the path of the first, as a factor, and ``jump_frame`` where that is.
    """

    mapper: str
    models: list[MappedModel]
    jump_frame: int | None
    jump: float

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


def candidate_folder(out: Path, mapper: str) -> Path:
    """Where a mapper's reconstructions are until one result is chosen."""
    return out / "poses" / f".{mapper}"


def try_mappers(
    frames: FrameSet,
    tracks: Tracks,
    out: Path,
    config: Config,
    progress: Progress,
    pairs: VerifiedPairs,
    *,
    poses_only: bool = False,
) -> tuple[Candidate, dict[str, float]]:
    """Try the configured mappers until one's result holds up; ``poses_only``: see :func:`run_mapper`.

    Returns:
        The best result, and the seconds of each mapper that was tried.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    candidates: list[Candidate] = []
    seconds: dict[str, float] = {}
    for mapper in progress(config.map.mappers, total=len(config.map.mappers), label="map"):
        started = time.monotonic()
        candidate = _try_mapper(mapper, frames, tracks, out, config, poses_only=poses_only)
        seconds[mapper] = round(time.monotonic() - started, 2)
        candidates.append(candidate)
        logger.info("map: %s: %s", mapper, _describe(candidate, frames))
        if _holds_up(candidate, joined_frames(frames, tracks, config.map.min_inliers), config):
            break
    best = best_candidate(candidates, config.map.max_scale_jump)
    if best.registered < 3:
        raise ReconstructionError(
            f"{out / 'database.db'}: no model from {len(frames)} frames ({pairs.verified} of {pairs.tried} pairs "
            f"verified, {pairs.matches} matches); {_no_model_hint(pairs)}"
        )
    return best, seconds


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


def _try_mapper(
    mapper: Mapper, frames: FrameSet, tracks: Tracks, out: Path, config: Config, *, poses_only: bool
) -> Candidate:
    """Run a mapper and judge its largest model; a guessed focal length that runs away is held in a second try."""
    refine = frames.camera.is_free
    models = _run(mapper, frames, out, config, refine_focal=refine, poses_only=poses_only)
    if refine and models and not _focal_in_bounds(models[0].camera, frames.camera, config):
        logger.warning("map: %s: focal length ran away to %.0f px; kept at the guess", mapper, models[0].camera.fx)
        models = _run(mapper, frames, out, config, refine_focal=False, poses_only=poses_only)
    jump_frame, jump = None, 1.0
    if models:
        jump_frame, jump = largest_scale_jump(scale_ratios(tracks, models[0].poses, models[0].camera))
    return Candidate(mapper, models, jump_frame, jump)


def _run(
    mapper: Mapper, frames: FrameSet, out: Path, config: Config, *, refine_focal: bool, poses_only: bool
) -> list[MappedModel]:
    folder = candidate_folder(out, mapper)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images = frames.frames[0].path.parent
    database = out / "database.db"
    found = run_mapper(mapper, database, images, folder, config, refine_focal=refine_focal, poses_only=poses_only)
    return read_models(found, frames)


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


def _holds_up(candidate: Candidate, possible: int, config: Config) -> bool:
    enough = candidate.registered >= config.map.min_registered * possible
    return enough and candidate.jump <= config.map.max_scale_jump


def best_candidate(candidates: list[Candidate], max_scale_jump: float) -> Candidate:
    """The result with the most registered frames, those with a jump in scale at :data:`WORTH_WITH_JUMP`."""
    return max(candidates, key=lambda c: c.registered * (1.0 if c.jump <= max_scale_jump else WORTH_WITH_JUMP))


def _describe(candidate: Candidate, frames: FrameSet) -> str:
    sizes = "+".join(str(len(poses)) for poses in candidate.poses) or "0"
    return f"{sizes} of {len(frames)} frames, largest change of scale {candidate.jump:.2f}"
