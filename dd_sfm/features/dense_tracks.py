"""From dense tracks to points: what the learned descriptor and any other method that has dense tracks share."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, dump_config
from dd_sfm.errors import ReconstructionError
from dd_sfm.features.given_poses import has_given_poses, map_given, pose_priors
from dd_sfm.features.instruments import mask_instruments, tracks_without_instruments
from dd_sfm.features.method import Job
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.instrument_masks import without_instruments
from dd_sfm.io.shortage import telling_full_disk
from dd_sfm.mvs.densify import densify_model
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.known_poses import poses_inputs
from dd_sfm.sfm.mapping import map_poses, move_result
from dd_sfm.sfm.moving_tracks import JudgedObservations, judge_tracks
from dd_sfm.sfm.point_colours import colour
from dd_sfm.sfm.pose_priors import PosePriors
from dd_sfm.sfm.two_view_consensus import agreeing_tracks
from dd_sfm.structures import FinishedModel, FloatArray, FrameSet, MapResult, Tracks

logger = logging.getLogger(__name__)

DOUBTFUL_SHARE = 0.3
"""Of the observations that move: with more of them the poses may be those of an instrument."""
BETTER, AS_GOOD = 1.05, 0.98
"""By this factor poses of a second try explain more observations than those of the first, or hardly fewer."""


def map_inputs(config: Config) -> list[Any]:
    """What :func:`dd_sfm.sfm.mapping.map_poses` depends on; for a method's ``stage_inputs``."""
    inputs = [mapper_inputs(config), dump_config(config)["triangulation"]]
    # Only when it is off, so that finished runs still hold.
    inputs = inputs if config.masks.instruments else [*inputs, {"instruments": False}]
    return inputs + poses_inputs(config.poses)


def mapper_inputs(config: Config) -> dict[str, Any]:
    """The settings of the mappers under the names of the first version, so that finished runs of it still hold."""
    settings = dict(dump_config(config)["map"])
    inputs = {"ladder": settings.pop("mappers"), **settings}
    return {**inputs, "deterministic": True} if config.runtime.deterministic else inputs


def map_tracks(job: Job, tracks: Tracks) -> MapResult:
    """Find the poses from dense tracks, and mask instruments; also for other methods that have tracks.

    Args:
        job: Frames, run folder and settings.
        tracks: All tracks.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    are_given = has_given_poses(job.config)
    found = map_given(job, tracks) if are_given else map_poses(job.frames, tracks, job.out, job.config, job.progress)
    if not job.config.masks.instruments:
        return found
    judged = _judged(job, tracks, found)
    is_doubtful = judged.moving_share > DOUBTFUL_SHARE and not are_given
    if is_doubtful:
        # A mapper that holds a large instrument for the scene explains that, and little else.
        most = agreeing_tracks(tracks, len(job.frames), found.cameras[0], error_scale(job.frames))
        found, judged = _mapped_again(job, tracks, most, found, judged, BETTER)
    share, notes = mask_instruments(job.frames, judged, job.out, job.config)
    if notes and not is_doubtful and not are_given:
        others = tracks_without_instruments(without_instruments(job.frames), tracks)
        found, _ = _mapped_again(job, tracks, others, found, judged, AS_GOOD)
    return replace(found, notes=[*found.notes, *notes], instruments=share)


def _judged(job: Job, tracks: Tracks, found: MapResult) -> JudgedObservations:
    scale = error_scale(job.frames)
    return JudgedObservations.together(
        [
            judge_tracks(tracks, poses, camera, job.config, scale)
            for poses, camera in zip(found.models, found.cameras, strict=True)
        ]
    )


def _mapped_again(
    job: Job, tracks: Tracks, some: Tracks, found: MapResult, judged: JudgedObservations, least: float
) -> tuple[MapResult, JudgedObservations]:
    """Poses from some of the tracks, unless they explain less of all tracks, by a factor, than those found before."""
    logger.info(
        "map: %.0f %% of all tracks move; again with %d of %d", 100 * judged.moving_share, some.count, tracks.count
    )
    # Apart from the result found before, whose files stay unless this one is better.
    folder = job.out / "map" / "again"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with telling_full_disk(str(folder), folder):
            again = map_poses(job.frames, some, folder, job.config, job.progress)
        judged_again = _judged(job, tracks, again)
        if judged_again.still_count > least * judged.still_count:
            move_result(folder, job.out)
            return again, judged_again
    except ReconstructionError as error:
        logger.info("map: %s", error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()
    return found, judged


def points_inputs(config: Config) -> list[Any]:
    """What :func:`densify_tracks` depends on; for a method's ``stage_inputs``."""
    settings = dump_config(config)
    return [settings["triangulation"], settings["dense"]]


def densify_tracks(job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
    """Make dense points of every model from its poses and the tracks; also for other methods that have tracks.

    Args:
        job: Frames, run folder and settings.
        tracks: All tracks.
        found: The poses.

    Yields:
        The models with coloured points, as written under ``sparse``; largest first.

    Raises:
        ReconstructionError: If the first model has no point.
    """
    frames, priors = without_instruments(job.frames), pose_priors(job)
    tracks = tracks_without_instruments(frames, tracks)
    for number, (poses, camera) in enumerate(zip(found.models, found.cameras, strict=True)):
        # Nothing is kept of a model here, so that one at a time is in memory.
        yield _densified(job, frames, tracks, number, poses, camera, priors)


def _densified(
    job: Job,
    frames: FrameSet,
    tracks: Tracks,
    number: int,
    poses: dict[int, FloatArray],
    camera: PinholeCamera,
    priors: PosePriors | None,
) -> FinishedModel:
    """One model with coloured points, written."""
    finished = densify_model(frames, tracks, poses, camera, job.config, job.progress, job.device, priors)
    if number == 0 and not len(finished.model.xyz):
        raise ReconstructionError(
            f"{job.out}: none of {tracks.count} tracks could be triangulated with the poses found; "
            "expected points. Try a calibration or --set triangulation.min_angle_deg=0.7"
        )
    model = colour(finished.model, job.frames, job.progress)
    write_model(job.out / "sparse" / str(number), model, job.frames)
    expected = round(float(np.median(finished.uncertainty)), 5) if len(model.xyz) else None
    return replace(finished, model=model, figures={"median_uncertainty": expected, **finished.figures})
