"""Refuses to measure on what was trained on: frames are compared by what they show, not by where they lie."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import UsageError
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.opening import OpenedSource

SIDE = 32
SAME = 0.975
"""Correlation of two small pictures from which they are one frame. The same sequence as JPEGs, as a video and as the
frames of a run: 0.98 to 0.997; another sequence: 0.73 at most; the two sides of a cut through one: 0.978, once."""
FRAMES = 3
"""So many frames in common are an overlap; fewer may be the two sides of a cut."""


def fingerprints(frames: WorkingFrames) -> NDArray[np.float32]:
    """Small pictures (N, D) of frames, unit norm: fine structure alone, so that light and compression matter little."""
    return np.stack([_fingerprint(frames.image(k)) for k in range(len(frames))])


def _fingerprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    # The rim is left out: the field of view is cut a little differently from source to source.
    fine = (small - cv2.GaussianBlur(small, (0, 0), 3.0))[4:-4, 4:-4].ravel()
    fine = fine - fine.mean()
    return np.asarray(fine / max(1e-6, float(np.linalg.norm(fine))), np.float32)


def check_no_overlap(training: Sequence[OpenedSource], validation: Sequence[OpenedSource]) -> None:
    """See that no source is both trained and measured on.

    Raises:
        UsageError: If ranges of one path overlap, or sources at different paths show the same frames.
    """
    if not validation:
        return
    prints = [fingerprints(s.frames) for s in training]
    for held_out in validation:
        own = fingerprints(held_out.frames)
        for source, theirs in zip(training, prints, strict=True):
            _check_pair(source, theirs, held_out, own)


def _check_pair(
    source: OpenedSource, theirs: NDArray[np.float32], held_out: OpenedSource, own: NDArray[np.float32]
) -> None:
    where = f"--validation {held_out.data.label} and training on {source.data.label}"
    if held_out.data.path.resolve() == source.data.path.resolve():
        # Of one path the numbers tell: two sides of a cut may look alike, and are not the same frames.
        common = sorted(set(source.frames.numbers) & set(held_out.frames.numbers))
        if common:
            raise UsageError(
                f"{where} share {len(common)} frames ({common[0]} to {common[-1]}); expected none. "
                "Give ranges that do not overlap: PATH:FIRST-LAST"
            )
        return
    same = int((own @ theirs.T > SAME).any(1).sum())
    if same >= min(FRAMES, len(own), len(theirs)):
        raise UsageError(
            f"{where} show the same frames ({same} of {len(own)} alike); expected other sequences, or parts of one "
            "with a margin between them"
        )
