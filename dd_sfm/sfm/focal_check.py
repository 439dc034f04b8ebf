"""Whether the matches agree with a calibration: with a wrong one a model looks as good, but has another shape."""

import logging
from pathlib import Path

from dd_sfm.config import Config
from dd_sfm.notes import Note, NoteCode
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.bundle_adjustment import free_focal
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.structures import FrameSet

logger = logging.getLogger(__name__)

FOCAL_AGREES = 0.75, 1.33
"""A focal length left free agrees with the calibration's between these factors of it."""
MIN_FRAMES = 20
"""Fewer frames do not tell a focal length."""


def focal_notes(folder: Path, registered: int, frames: FrameSet, config: Config) -> list[Note]:
    """What to tell the user when the matches ask for another focal length than the calibration has.

    Args:
        folder: Of the mapper's binary model.
        registered: Its number of frames.
        frames: Frames with the calibrated camera; nothing is said of a guessed one.
        config: Number of threads.
    """
    if frames.camera.is_guess or registered < MIN_FRAMES:
        return []
    focal = free_focal(folder, scale_px=error_scale(frames), threads=cpu_threads(config.runtime))
    given = float(frames.camera.focal.mean())
    low, high = FOCAL_AGREES
    logger.info("map: focal length %.1f px, %.1f px if it were free", given, focal)
    if low <= focal / given <= high:
        return []
    text = (
        f"calibration: the focal length is {given:.0f} px, the matches would have {focal:.0f} px. Is it of this scope, "
        "at this zoom and size of frames, with this centre? Shape and angles are only as good as that"
    )
    return [Note(NoteCode.CALIBRATION_FOCAL_LENGTH, text)]
