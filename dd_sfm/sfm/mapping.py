"""Stage: map. Verified matches go to COLMAP's mappers, which find the poses."""

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import silence, verify, write_database
from dd_sfm.io.run_layout import own_files
from dd_sfm.io.sqlite_file import bring_into_file, remove_database
from dd_sfm.notes import Note, NoteCode
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.focal_check import focal_notes
from dd_sfm.sfm.mapper_choice import Candidate, try_mappers
from dd_sfm.sfm.model_folders import keep_models, keep_parts, remove_models
from dd_sfm.sfm.piece_notes import model_notes
from dd_sfm.sfm.scale_check import largest_scale_jump, scale_ratios
from dd_sfm.sfm.sound_models import ModelChecker, SoundModels, whole_models
from dd_sfm.sfm.sound_notes import sound_notes
from dd_sfm.sfm.track_selection import mapper_tracks
from dd_sfm.structures import FrameSet, MapResult, Tracks, VerifiedPairs

logger = logging.getLogger(__name__)


def map_poses(frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress) -> MapResult:
    """Find the poses of the frames from their tracks.

    Writes ``out/database.db`` and the models of the result under ``out/poses/0``, ``1``, ..., in their order.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    is_chosen, pairs, seconds = verify_tracks(frames, tracks, out, config)
    chosen = tracks.where(is_chosen[tracks.track])
    checker = ModelChecker(frames, tracks, ~is_chosen, config)
    best, tried = try_mappers(frames, chosen, out, config, progress, pairs, checker=checker)
    sound = checker.completed(best.models, best.sound)
    return _result(best, sound, frames, chosen, out, config, pairs, seconds | tried)


def verify_tracks(
    frames: FrameSet, tracks: Tracks, out: Path, config: Config
) -> tuple[NDArray[np.bool_], VerifiedPairs, dict[str, float]]:
    """Write ``out/database.db`` with the tracks for a mapper, and let COLMAP verify its pairs.

    Returns:
        Which tracks (T,) are in it, how verification went, and its seconds.
    """
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    is_chosen = mapper_tracks(tracks, config.map.tracks_per_frame, (frames.camera.width, frames.camera.height))
    chosen = tracks.where(is_chosen[tracks.track])
    started = time.monotonic()
    database = out / "database.db"
    write_database(database, frames, chosen, min_matches=config.map.min_inliers)
    pairs = verify(
        database,
        max_error_px=config.map.verify_max_error_px * error_scale(frames),
        min_inliers=config.map.min_inliers,
        seed=config.runtime.seed,
        threads=cpu_threads(config.runtime),
    )
    logger.info("map: %d tracks; %d of %d pairs verified", chosen.count, pairs.verified, pairs.tried)
    return is_chosen, pairs, {"verify": round(time.monotonic() - started, 2)}


def move_result(source: Path, out: Path) -> None:
    """Put the database and the models that :func:`map_poses` wrote to a folder in place of those in another one."""
    bring_into_file(source / "database.db")
    remove_database(out / "database.db")
    remove_models(out)
    for file in own_files(source, "map"):
        target = out / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def map_database(
    frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress, pairs: VerifiedPairs
) -> MapResult:
    """Find the poses from ``out/database.db`` as it is, with everything left as COLMAP's mapper has it.

    Args:
        frames: Frames of the database.
        tracks: The database's tracks, to judge the scale along the path.
        out: The run folder; the models of the result are written under ``poses/0``, ``1``, ..., in their order.
        config: Mapper settings.
        progress: Shows the mappers tried.
        pairs: How verification went.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    best, seconds = try_mappers(frames, tracks, out, config, progress, pairs)
    return _result(best, whole_models(best.models), frames, tracks, out, config, pairs, seconds)


def _result(
    best: Candidate,
    sound: SoundModels,
    frames: FrameSet,
    tracks: Tracks,
    out: Path,
    config: Config,
    pairs: VerifiedPairs,
    seconds: dict[str, float],
) -> MapResult:
    """Make what holds of the best candidate the result; its largest model may have more frames than the mapper's."""
    models = sound.models
    notes = _notes(best, sound, frames, tracks, config) + focal_notes(tracks, models[0].poses, frames, config)
    if sound.is_whole:
        keep_models(out, best.mapper, [model.folder for model in models])
    else:
        names = [{frames.frames[k].path.name for k in model.poses} for model in models]
        keep_parts(out, best.mapper, [(model.folder, held) for model, held in zip(models, names, strict=True)])
    return MapResult(
        [model.poses for model in models],
        [model.camera for model in models],
        best.mapper,
        pairs,
        seconds,
        notes,
        confidence=[dict(model.confidence) for model in models],
        left_out=sound.left_out,
        splits=sound.splits,
    )


def _jump(best: Candidate, sound: SoundModels, tracks: Tracks) -> tuple[int | None, float]:
    """The largest change of scale along the path of the first model, and the frame where it is."""
    if sound.is_whole:
        return best.jump_frame, best.jump
    return largest_scale_jump(scale_ratios(tracks, sound.models[0].poses, sound.models[0].camera))


def _notes(best: Candidate, sound: SoundModels, frames: FrameSet, tracks: Tracks, config: Config) -> list[Note]:
    """What went less well, for the user."""
    models = [model.poses for model in sound.models]
    notes = model_notes(models, frames, sound.left_out) + sound_notes(sound, frames)
    added = len(set(models[0]) - {k for poses in best.poses for k in poses})
    if added:
        which = "1 frame was" if added == 1 else f"{added} frames were"
        text = f"{which} registered only in a second try against the finished model"
        notes.append(Note(NoteCode.FRAMES_REGISTERED_LATE, text))
    first = config.map.mappers[0]
    if best.mapper != first:
        text = f"the {first} mapper's result did not hold up: the poses are those of the {best.mapper} mapper"
        notes.append(Note(NoteCode.FALLBACK_MAPPER, text))
    for mapper, seconds in best.ended.items():
        text = f"the {mapper} mapper was ended after {seconds:.0f} s, with what it had until then"
        notes.append(Note(NoteCode.MAPPER_ENDED, text))
    jump_frame, jump = _jump(best, sound, tracks)
    if jump > config.map.max_scale_jump and jump_frame is not None:
        where = frames.frames[jump_frame].label
        text = f"the scale of the scene changes by a factor {jump:.1f} at frame {where}: do not trust sizes"
        notes.append(Note(NoteCode.SCALE_JUMP, text))
    if frames.camera.is_free:
        notes.append(_camera_note(sound.models[0].camera.fx, frames, config))
    return notes


def _camera_note(focal_px: float, frames: FrameSet, config: Config) -> Note:
    text = (
        f"no calibration: focal length {focal_px:.0f} px from a guess of {frames.camera.fx:.0f} px "
        f"({config.camera.field_of_view_deg:g} degrees, no distortion); shape and angles are only as good as that. "
        "Give one with --calibration"
    )
    return Note(NoteCode.NO_CALIBRATION, text)
