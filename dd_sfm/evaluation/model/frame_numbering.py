"""Which frame of one reconstruction is which of another, where each numbers them in its own way."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_cameras, follows
from dd_sfm.structures import FloatArray

PLAIN = "frame numbers"
NAMES = "numbers in the names of the source images"
ORDER = "order of the frames"
THEIRS_FROM_ONE = "frame numbers, those of the reference counted from one"
OURS_FROM_ONE = "frame numbers, those of the model counted from one"
ORDER_FROM_ONE = "order of the frames, those of the model counted from one"

LEAST = 8
"""Common frames that a numbering must have for its fit to speak for it: of 1000 straight paths whose cameras
shake by three steps, 9 of 6 frames fitted twice as well one frame off, of 7 and more none.
"""
EXACT = 1e-6
"""Cameras this close to each other, as a share of the path's extent, are the same: nothing fits better."""


@dataclass(frozen=True)
class NumberedPoses:
    """Poses by frame number, and how the numbers came about.

    ``kind``: run (counts the frames of its source from zero), colmap (as its images are called), jhu (numbers of a
    longer video) or rendered (from zero); ``cam_from_world`` (3, 4) by frame; ``frames``: all numbers, ascending, as
    far as they are known also without a pose; ``source_number``: the number in the name of a frame's source image.
    """

    kind: str
    cam_from_world: Mapping[int, FloatArray]
    frames: tuple[int, ...]
    source_number: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CommonFrames:
    """Frames with a pose in both: numbers in the ``run`` and in the ``reference``, (N,) each, and how they correspond.

    ``number``: of every frame of the run in the reference, also without a pose; ``poses`` and ``reference_poses``
    (N, 3, 4) are the cam_from_world of the common ones.
    """

    run: tuple[int, ...]
    reference: tuple[int, ...]
    numbering: str
    number: Mapping[int, int]
    poses: FloatArray
    reference_poses: FloatArray

    @property
    def notes(self) -> list[str]:
        """That the frames do not simply bear the same numbers."""
        if self.numbering == PLAIN or not self.run:
            return []
        first = f"{self.run[0]} is the reference's {self.reference[0]}"
        return [f"frames were found in the reference by the {self.numbering}: {first}"]


def same_frames(run: NumberedPoses, reference: NumberedPoses) -> CommonFrames:
    """Find which frame of the reference each frame of the run is.

    Most common frames decide between the usual numberings; between about as many, a less usual one must fit twice as
    well. So must counting from one, as ffmpeg does, and the order of as many frames, which are taken without that
    only where nothing else is in common and the cameras follow each other.

    Returns:
        What is in common, which may be nothing.
    """
    found = [_common(run, reference, name, numbers) for name, numbers in _usual(run, reference)]
    most = max(len(c.run) for c in found)
    likely = [c for c in found if len(c.run) >= max(3, 0.8 * most)]
    best = likely[0] if likely else max(found, key=lambda c: len(c.run))
    for other in likely[1:]:
        if len(other.run) >= LEAST and _fits_twice_as_well(other, best):
            best = other
    rivals = [_common(run, reference, name, numbers) for name, numbers in _unusual(run, reference)]
    rivals = [c for c in rivals if len(c.run) >= max(LEAST, 0.8 * len(best.run))]
    rivals = [c for c in rivals if (_fits_twice_as_well(c, best) if likely else _follows(c))]
    return min(rivals, key=_misfit, default=best)


def _usual(run: NumberedPoses, reference: NumberedPoses) -> list[tuple[str, Mapping[int, int]]]:
    """What the frame numbers of the run may mean, the most usual first."""
    plain = (PLAIN, {f: f for f in run.frames})
    named = [(NAMES, run.source_number)] if run.source_number else []
    if reference.kind != "jhu":
        return [plain, *named]
    ordinal = (ORDER, dict(enumerate(reference.frames)))
    return [*named, ordinal, plain] if run.kind == "run" else [plain, ordinal]


def _unusual(run: NumberedPoses, reference: NumberedPoses) -> list[tuple[str, Mapping[int, int]]]:
    """What they may mean where only the fit can tell, for images that others counted: runs count from zero."""
    found: list[tuple[str, Mapping[int, int]]] = []
    if reference.kind == "jhu":
        return [(ORDER_FROM_ONE, dict(enumerate(reference.frames, 1)))] if run.kind == "colmap" else []
    if reference.kind == "colmap":
        found.append((THEIRS_FROM_ONE, {f: f + 1 for f in run.frames}))
    if run.kind == "colmap":
        found.append((OURS_FROM_ONE, {f: f - 1 for f in run.frames}))
    if len(run.frames) == len(reference.frames) and found and reference.kind != "rendered":
        found.append((ORDER, dict(zip(run.frames, reference.frames, strict=True))))
    return found


def _common(run: NumberedPoses, reference: NumberedPoses, name: str, number: Mapping[int, int]) -> CommonFrames:
    pairs = [(f, number[f]) for f in sorted(run.cam_from_world) if number.get(f) in reference.cam_from_world]
    ours, theirs = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
    empty = np.zeros((0, 3, 4))
    return CommonFrames(
        ours,
        theirs,
        name,
        number,
        np.stack([run.cam_from_world[f] for f in ours]) if pairs else empty,
        np.stack([reference.cam_from_world[f] for f in theirs]) if pairs else empty,
    )


def _fits_twice_as_well(other: CommonFrames, best: CommonFrames) -> bool:
    kept = _misfit(best)
    extent = float(np.ptp(camera_centres(best.reference_poses), axis=0).max())
    return np.isfinite(kept) and kept > EXACT * extent and _misfit(other) < 0.5 * kept


def _misfit(common: CommonFrames) -> float:
    """Median distance of the aligned cameras from those of the reference; inf where they cannot be aligned."""
    moved = _aligned(common)
    if moved is None:
        return float("inf")
    return float(np.median(np.linalg.norm(camera_centres(moved) - camera_centres(common.reference_poses), axis=1)))


def _follows(common: CommonFrames) -> bool:
    moved = _aligned(common)
    return moved is not None and follows(moved, common.reference_poses)


def _aligned(common: CommonFrames) -> FloatArray | None:
    """The run's poses (N, 3, 4) in the reference's frame; None where they cannot be aligned."""
    try:
        return align_cameras(common.poses, common.reference_poses).similarity.poses(common.poses)
    except InputError:
        return None
