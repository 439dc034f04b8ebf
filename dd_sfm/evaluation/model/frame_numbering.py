"""Find which frame of one reconstruction is which of another, where each numbers its frames in its own way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import CameraAlignment, align_cameras
from dd_sfm.structures import FloatArray


class Numbering(Enum):
    """How the frame numbers of a run correspond to those of a reference; the value says it in words."""

    SAME_NUMBERS = "frame numbers"
    IMAGE_NAMES = "numbers in the names of the source images"
    FRAME_ORDER = "order of the frames"
    REFERENCE_FROM_ONE = "frame numbers, those of the reference counted from one"
    RUN_FROM_ONE = "frame numbers, those of the model counted from one"
    FRAME_ORDER_FROM_ONE = "order of the frames, those of the model counted from one"


NumberedFrames = tuple[Numbering, Mapping[int, int]]
"""A numbering, and by it the reference's number of every frame of the run."""

MIN_FRAMES_TO_FIT = 8
"""Common frames from which on the fit of the cameras may decide for a numbering: fewer may fit well by chance."""
EXACT_FIT_SHARE = 1e-6
"""Cameras closer to each other than this share of the path's extent are the same: no other numbering fits better."""


@dataclass(frozen=True)
class NumberedPoses:
    """Poses by frame number, and how the numbers came about.

    ``kind``: run (counts the frames of its source from zero), colmap (numbers in the image names), jhu (numbers of a
    longer video) or rendered (from zero); ``cam_from_world`` (3, 4) by frame; ``frames``: all known frame numbers,
    ascending, also without a pose; ``source_number``: by frame, the number in the name of its source image.
    """

    kind: str
    cam_from_world: Mapping[int, FloatArray]
    frames: tuple[int, ...]
    source_number: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CommonFrames:
    """Frames with a pose in both a run and a reference.

    ``run`` and ``reference``: numbers (N,) of the common frames in either; ``reference_number``: the reference's
    number of every frame of the run, also without a pose; ``poses`` and ``reference_poses`` (N, 3, 4): cam_from_world
    of the common frames.
    """

    run: tuple[int, ...]
    reference: tuple[int, ...]
    numbering: Numbering
    reference_number: Mapping[int, int]
    poses: FloatArray
    reference_poses: FloatArray

    @property
    def notes(self) -> list[str]:
        """A note for the user where the frames do not simply bear the same numbers."""
        if self.numbering is Numbering.SAME_NUMBERS or not self.run:
            return []
        first = f"{self.run[0]} is the reference's {self.reference[0]}"
        return [f"frames were found in the reference by the {self.numbering.value}: {first}"]


def match_frame_numbers(run: NumberedPoses, reference: NumberedPoses) -> CommonFrames:
    """Find which frame of the reference each frame of the run is.

    Among the likely numberings, the one with most common frames is taken. Where a less likely one has about as many,
    it is taken if its cameras fit twice as well. The same holds for rare numberings: counting from one, as ffmpeg
    does, and the order of equally many frames. Where no likely numbering has enough common frames, a rare one is taken
    if its cameras agree with the reference's.

    Returns:
        The common frames, possibly none.
    """
    found = [_common_frames(run, reference, numbered) for numbered in _likely_numberings(run, reference)]
    largest = max(len(c.run) for c in found)
    likely = [c for c in found if len(c.run) >= max(3, 0.8 * largest)]
    best = likely[0] if likely else max(found, key=lambda c: len(c.run))
    for other in likely[1:]:
        if len(other.run) >= MIN_FRAMES_TO_FIT and _fits_twice_as_well(other, best):
            best = other
    rare = [_common_frames(run, reference, numbered) for numbered in _rare_numberings(run, reference)]
    rare = [c for c in rare if len(c.run) >= max(MIN_FRAMES_TO_FIT, 0.8 * len(best.run))]
    rare = [c for c in rare if (_fits_twice_as_well(c, best) if likely else _agrees(c))]
    return min(rare, key=_median_error, default=best)


def _likely_numberings(run: NumberedPoses, reference: NumberedPoses) -> list[NumberedFrames]:
    """Numberings to expect, the most likely first."""
    same = (Numbering.SAME_NUMBERS, {f: f for f in run.frames})
    by_name = [(Numbering.IMAGE_NAMES, run.source_number)] if run.source_number else []
    if reference.kind != "jhu":
        return [same, *by_name]
    by_order = (Numbering.FRAME_ORDER, dict(enumerate(reference.frames)))
    return [*by_name, by_order, same] if run.kind == "run" else [same, by_order]


def _rare_numberings(run: NumberedPoses, reference: NumberedPoses) -> list[NumberedFrames]:
    """Numberings that only the fit of the cameras can confirm: images numbered by another program than dd-sfm."""
    found: list[NumberedFrames] = []
    if reference.kind == "jhu":
        by_order = (Numbering.FRAME_ORDER_FROM_ONE, dict(enumerate(reference.frames, 1)))
        return [by_order] if run.kind == "colmap" else []
    if reference.kind == "colmap":
        found.append((Numbering.REFERENCE_FROM_ONE, {f: f + 1 for f in run.frames}))
    if run.kind == "colmap":
        found.append((Numbering.RUN_FROM_ONE, {f: f - 1 for f in run.frames}))
    if len(run.frames) == len(reference.frames) and found and reference.kind != "rendered":
        found.append((Numbering.FRAME_ORDER, dict(zip(run.frames, reference.frames, strict=True))))
    return found


def _common_frames(run: NumberedPoses, reference: NumberedPoses, numbered: NumberedFrames) -> CommonFrames:
    numbering, number = numbered
    pairs = [(f, number[f]) for f in sorted(run.cam_from_world) if number.get(f) in reference.cam_from_world]
    ours, theirs = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
    empty = np.zeros((0, 3, 4))
    return CommonFrames(
        ours,
        theirs,
        numbering,
        number,
        np.stack([run.cam_from_world[f] for f in ours]) if pairs else empty,
        np.stack([reference.cam_from_world[f] for f in theirs]) if pairs else empty,
    )


def _fits_twice_as_well(other: CommonFrames, best: CommonFrames) -> bool:
    best_error = _median_error(best)
    extent = float(np.ptp(camera_centres(best.reference_poses), axis=0).max())
    can_improve = np.isfinite(best_error) and best_error > EXACT_FIT_SHARE * extent
    return can_improve and _median_error(other) < 0.5 * best_error


def _median_error(common: CommonFrames) -> float:
    """Median distance of the aligned cameras from those of the reference; inf where they cannot be aligned."""
    found = _alignment(common)
    if found is None:
        return float("inf")
    return float(np.median(np.linalg.norm(camera_centres(found.aligned) - camera_centres(found.reference), axis=1)))


def _agrees(common: CommonFrames) -> bool:
    found = _alignment(common)
    return found is not None and found.agrees


def _alignment(common: CommonFrames) -> CameraAlignment | None:
    """The run's cameras aligned to the reference's; None where they cannot be aligned."""
    try:
        return align_cameras(common.poses, common.reference_poses)
    except InputError:
        return None
