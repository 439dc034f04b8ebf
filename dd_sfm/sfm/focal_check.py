"""Whether the matches agree with a calibration: with a wrong one a model looks as good, but has another shape."""

import logging

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.eucm import FOCAL, PARAMETERS, lens_vector
from dd_sfm.sfm.lens_estimate import FieldShape, KnownLens, estimate_lens
from dd_sfm.sfm.mappers import Poses
from dd_sfm.structures import FloatArray, FrameSet, Tracks

logger = logging.getLogger(__name__)

LEAST_OFF = float(np.log(1.33))
"""A focal length that the matches would have otherwise by less than this factor is not doubted..."""
SIGMAS_OFF = 3.5
"""...nor one that is within so many standard deviations of what they would have."""
MIN_FRAMES, MOST_FRAMES = 20, 40
"""Fewer frames do not tell a focal length, more tell it hardly better."""
ANY_FOCAL = 1.0
"""Relative standard deviation of a focal length of which nothing is known."""
FIXED = 1e-3
"""Standard deviation of what stays as it is, in units of its own and of focal lengths."""


def focal_notes(tracks: Tracks, poses: Poses, frames: FrameSet, config: Config) -> list[Note]:
    """What to tell the user when the matches ask for another focal length than the calibration has.

    Args:
        tracks: Tracks that the mapper was given.
        poses: Those of the largest model.
        frames: Frames with the calibrated camera; nothing is said of another one.
        config: Number of threads, and seed.
    """
    if not frames.camera.is_calibrated or len(poses) < MIN_FRAMES:
        return []
    ordered = sorted(poses)
    first = max(0, (len(ordered) - MOST_FRAMES) // 2)
    middle = {k: poses[k] for k in ordered[first : first + MOST_FRAMES]}
    camera = frames.camera
    found = estimate_lens(
        tracks, middle, camera, FieldShape.of_tracks(tracks), _any_focal(camera), config, error_scale(frames)
    )
    given = float(camera.focal.mean())
    off = float(np.log(found.focal_px / given))
    logger.info("map: focal length %.1f px; %.1f px +- %.1f %% if it were free", given, found.focal_px,
                100 * found.focal_sigma)  # fmt: skip
    if not found.is_told or abs(off) < max(LEAST_OFF, SIGMAS_OFF * found.focal_sigma):
        return []
    text = (
        f"calibration: the focal length is {given:.0f} px, the matches would have {found.focal_px:.0f} px, give or "
        f"take {100 * found.focal_sigma:.0f} %. Is it of this scope, at this zoom and size of frames, with this "
        "centre? Shape and angles are only as good as that"
    )
    return [Note(NoteCode.CALIBRATION_FOCAL_LENGTH, text)]


def _any_focal(camera: PinholeCamera) -> KnownLens:
    """A pinhole with the centre of a camera, of which the focal length is not known."""
    expected = lens_vector(float(camera.focal.mean()), 0.0, 1.0, (camera.cx, camera.cy))
    spread = np.full(PARAMETERS, FIXED) * np.exp([0, 0, 0, expected[FOCAL], expected[FOCAL]])
    spread[FOCAL] = ANY_FOCAL

    def prior(lens: FloatArray) -> FloatArray:
        return np.asarray((lens - expected) / spread)

    return KnownLens(expected, ANY_FOCAL, prior)
