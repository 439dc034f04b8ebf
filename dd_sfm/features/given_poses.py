"""Measured poses in a run: in the place of a mapper's, or as what a mapper's are brought onto."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dd_sfm.cameras import inverse_pose
from dd_sfm.config import Config
from dd_sfm.features.method import Job
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.colmap_source import move_model
from dd_sfm.io.known_poses import KnownFrame, KnownPoses, read_known_poses, write_known_poses
from dd_sfm.io.run_folder import read_frames
from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.hand_eye import PathFit
from dd_sfm.sfm.known_poses import (
    Agreement,
    GivenPath,
    agreement,
    agreement_notes,
    camera_poses,
    check_agreement,
    frame_keys,
    hand_eye_figures,
    open_given,
    ways_to_read,
)
from dd_sfm.sfm.mapping import map_poses, verify_tracks
from dd_sfm.sfm.model_folders import remove_models
from dd_sfm.sfm.path_alignment import Alignment, align_models, alignment_notes, known_of
from dd_sfm.sfm.path_matching import NAMES, NUMBERS, SECONDS, FrameKeys
from dd_sfm.sfm.piece_notes import frame_names
from dd_sfm.sfm.pose_priors import PosePriors
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, FrameSet, MapResult, ModelScale, Tracks

logger = logging.getLogger(__name__)

GIVEN = "given"
"""What the mapper of a run is called that has the measured poses."""


def has_given_poses(config: Config) -> bool:
    """Whether a run has measured poses as they are."""
    return config.poses.file is not None and config.poses.sigma is None


def pose_priors(job: Job) -> PosePriors | None:
    """The measured poses of a run by frame position, as its points are made with them; None where it has none."""
    known = read_known_poses(job.out)
    if known is None or not known.frames:
        return None
    position = {frame.path.stem: k for k, frame in enumerate(job.frames.frames)}
    poses = {position[n]: f.cam_from_world for n, f in known.frames.items() if f.is_used and n in position}
    return PosePriors(poses, known.sigma_mm, known.sigma_deg, known.are_exact)


def map_given(job: Job, tracks: Tracks) -> MapResult:
    """Take the measured poses of the frames for their poses.

    A hand-eye transform or a time offset that is to be estimated comes from a mapper's poses.

    Raises:
        InputError: If the images contradict them.
        ReconstructionError: If a mapper that is needed finds no model.
    """
    given, records = open_given(job.config.poses), read_frames(job.out).kept
    keys, settings = frame_keys(records), job.config.poses
    names = [record.name for record in records]
    notes = list(given.notes)
    if settings.hand_eye == "estimate" or settings.within_s:
        found = map_poses(job.frames, tracks, job.out, job.config, job.progress)
        # Of poses that are kept the sensor is only estimated where that was asked for.
        hand_eye = "none" if settings.hand_eye == "auto" else settings.hand_eye
        asked = replace(settings, hand_eye=hand_eye, within_s=settings.within_s or 0.0)
        alignment = align_models(found.models[:1], keys, given, asked)
        known = known_of(alignment, found.models[:1], names, are_exact=True)
        notes += alignment_notes(alignment, known, job.frames)
        position = {name: k for k, name in enumerate(names)}
        poses = {position[name]: frame.cam_from_world for name, frame in known.frames.items()}
        pairs, seconds = found.pairs, found.seconds
    else:
        poses, read = _best_reading(given, keys, job.frames, tracks, settings.offset_s)
        frames = {names[k]: KnownFrame(pose) for k, pose in poses.items()}
        read_as = {"read": read, **hand_eye_figures(given.sensor_from_cam)}
        known = KnownPoses(given.path.path.name, True, given.unit, 0.0, 0.0, read_as, frames)
        _, pairs, seconds = verify_tracks(job.frames, tracks, job.out, job.config)
    agreeing = _agreement(job, given, tracks, poses)
    if known.figures["read"] not in (SECONDS, NUMBERS, NAMES):
        text = f"the poses of {known.file} were found {known.figures['read']}: images agree best with these"
        notes.append(Note(NoteCode.KNOWN_POSES, text))
    notes += agreement_notes(given, agreeing, job.frames) + _missing(given, poses, job.frames)
    figures = {**known.figures, "matches_agreeing": round(agreeing.share, 4), "models_placed": [True]}
    write_known_poses(job.out, replace(known, figures=figures))
    _write_poses(job, tracks, poses)
    confidence = {k: round(agreeing.by_frame.get(k, 0.0), 3) for k in poses}
    return MapResult([poses], [job.frames.camera], GIVEN, pairs, seconds, notes, confidence=[confidence])


def check_given(job: Job, tracks: Tracks) -> None:
    """Refuse measured poses that images contradict, before what they would replace is removed.

    What needs a mapper's poses to tell is not told here.

    Raises:
        InputError: If they are those of another clip, or far from exact.
    """
    settings = job.config.poses
    if has_given_poses(job.config) and settings.hand_eye != "estimate" and not settings.within_s:
        given = open_given(settings)
        keys = frame_keys(read_frames(job.out).kept)
        _agreement(job, given, tracks, _best_reading(given, keys, job.frames, tracks, settings.offset_s)[0])


def _agreement(job: Job, given: GivenPath, tracks: Tracks, poses: dict[int, FloatArray]) -> Agreement:
    found = agreement(tracks, poses, job.frames.camera, error_scale(job.frames))
    logger.info("map: given poses agree with %.0f %% of the matches", 100 * found.share)
    check_agreement(given, found)
    return found


def _best_reading(
    given: GivenPath, keys: FrameKeys, frames: FrameSet, tracks: Tracks, offset: float
) -> tuple[dict[int, FloatArray], str]:
    """The poses by the way to read a path that images agree with most, and what that is."""
    best: tuple[float, dict[int, FloatArray], str] | None = None
    ways = ways_to_read(given, keys, offset, 0.0)
    for way in ways:
        poses = camera_poses(given, way, offset, np.eye(3, 4))
        share = agreement(tracks, poses, frames.camera, error_scale(frames)).share if len(ways) > 1 else 0.0
        if best is None or share > best[0]:
            best = share, poses, way.by
    assert best is not None
    return best[1], best[2]


def _missing(given: GivenPath, poses: Mapping[int, FloatArray], frames: FrameSet) -> list[Note]:
    missing = [k for k in range(len(frames)) if k not in poses]
    if not missing:
        return []
    text = (
        f"{len(missing)} of {len(frames)} frames have no pose in {given.path.path.name}: {frame_names(missing, frames)}"
    )
    return [Note(NoteCode.FRAMES_NOT_REGISTERED, text)]


def _write_poses(job: Job, tracks: Tracks, poses: dict[int, FloatArray]) -> None:
    """Write the given poses with points of the tracks as the model that else a mapper writes."""
    remove_models(job.out)
    model, _ = triangulate(tracks, poses, job.frames.camera, job.config, scale=error_scale(job.frames))
    write_model(job.out / "poses" / "0", model, job.frames)


def on_path(job: Job, tracks: Tracks, found: MapResult) -> MapResult:
    """Bring a mapper's models onto measured poses that have errors; as they are where there are none.

    Raises:
        InputError: If the poses do not fit.
    """
    settings = job.config.poses
    if settings.file is None or has_given_poses(job.config):
        return found
    given, records = open_given(settings), read_frames(job.out).kept
    alignment = align_models(found.models, frame_keys(records), given, settings)
    known = known_of(alignment, found.models, [record.name for record in records], are_exact=False)
    placed = [fit is not None for fit in alignment.fits]
    figures = {**known.figures, "models_placed": placed}
    write_known_poses(job.out, replace(known, figures=figures))
    models = []
    for number, (poses, fit) in enumerate(zip(found.models, alignment.fits, strict=True)):
        models.append(poses if fit is None else _moved(poses, fit))
        folder = job.out / "poses" / str(number)
        if fit is not None and folder.is_dir():
            move_model(folder, fit.scale, fit.rotation, fit.shift)
    notes = [
        *found.notes,
        *given.notes,
        *alignment_notes(alignment, known, job.frames),
        *_not_placed(found, alignment, job.frames),
    ]
    scales = [ModelScale() if fit is None else ModelScale(1.0, fit.scale_sigma) for fit in alignment.fits]
    return replace(found, models=models, notes=notes, scales=scales)


def _moved(poses: Mapping[int, FloatArray], fit: PathFit) -> dict[int, FloatArray]:
    keys = sorted(poses)
    moved = inverse_pose(fit.to_path(inverse_pose(np.stack([poses[k] for k in keys]))))
    return dict(zip(keys, moved, strict=True))


def _not_placed(found: MapResult, alignment: Alignment, frames: FrameSet) -> list[Note]:
    """Models that keep a unit of their own."""
    notes = []
    for poses, fit in zip(found.models, alignment.fits, strict=True):
        if fit is None:
            text = (
                f"too few measured poses of frames {frame_names(sorted(poses), frames)}: their model keeps a place "
                "and a unit of its own"
            )
            notes.append(Note(NoteCode.KNOWN_POSES_DISAGREE, text))
    return notes
