"""Checks that no validation frame is trained on (data leakage), by the content of the frames, not their paths."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from dd_sfm.documents import parse_yaml, regular
from dd_sfm.errors import UsageError
from dd_sfm.ops.spread import spread_positions
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.open_sources import OpenedSource
from dd_sfm.training.sources.spec import DataPath, rendered_scenes

SIDE, WINDOW = 26, 0.8
"""Side of a fingerprint in cells, and the share of the frame, in its middle, that it covers."""
MIN_CORRELATION = 0.97
"""Correlation of two fingerprints from which they show the same frame; two sequences reach 0.73 at most."""
MIN_SHARED_FRAMES = 3
"""This many alike frames are an overlap; fewer may be the two sides of a cut through one sequence."""
MAX_FRAMES = 300
ZOOMS, SHIFTS = (0.94, 1.0, 1.06), (-0.03, 0.0, 0.03)
"""Tried zooms, and shifts as a share of the frame: the field of view is cropped differently in every source."""


def fingerprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """High-pass thumbnail (D,) of a frame (H, W, 3), of unit norm: nearly independent of brightness."""
    return _crop_fingerprint(_downsample(image), 1.0, 0.0, 0.0)


def _downsample(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Downsample to grey, at four pixels a cell, so that a crop can lie between cells."""
    size = round(4 * SIDE / WINDOW)
    grey = cv2.cvtColor(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.6)


def _crop_fingerprint(grey: NDArray[np.float32], zoom: float, x: float, y: float) -> NDArray[np.float32]:
    """Fingerprint of a crop ``zoom`` times as large as usual, shifted by ``x`` and ``y`` of the frame's size."""
    size = len(grey)
    step = WINDOW * zoom * size / SIDE
    corner = (0.5 - WINDOW * zoom / 2) * size
    place = np.array([[step, 0, corner + x * size], [0, step, corner + y * size]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small = cv2.warpAffine(grey, place, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    fine = (small - cv2.GaussianBlur(small, (0, 0), 3.0)).ravel()
    fine = fine - fine.mean()
    return np.asarray(fine / max(1e-6, float(np.linalg.norm(fine))), np.float32)


def _shifted_fingerprints(frames: WorkingFrames) -> list[NDArray[np.float32]]:
    """Fingerprints (N, D) of frames spread over a source, one array for each zoom and shift."""
    chosen = spread_positions(len(frames), MAX_FRAMES)
    greys = [_downsample(frames.image(k)) for k in chosen]
    return [np.stack([_crop_fingerprint(g, z, x, y) for g in greys]) for z in ZOOMS for x in SHIFTS for y in SHIFTS]


def check_no_leakage(training: Sequence[OpenedSource], validation: Sequence[OpenedSource]) -> None:
    """Check that no validation source shares frames with a training source.

    Raises:
        UsageError: If ranges of one path overlap, or sources at different paths show the same frames.
    """
    if not validation:
        return
    prints = [np.stack([fingerprint(s.frames.image(k)) for k in range(len(s.frames))]) for s in training]
    for held_out in validation:
        validation_prints = _shifted_fingerprints(held_out.frames)
        for source, training_prints in zip(training, prints, strict=True):
            _check_pair(source, training_prints, held_out, validation_prints)


def check_streams(training: Sequence[DataPath], validation: Sequence[DataPath]) -> None:
    """Check that no scene to be validated on is one that a stream of rendered scenes will reach.

    Rendered clips are known by what their scene.yaml says of organ and seed.

    Raises:
        UsageError: If one is, or if a stream itself is to be validated on.
    """
    stream = [(d, s) for d in training for s in rendered_scenes(d) if s.is_stream]
    for held_out in validation:
        scenes = rendered_scenes(held_out)
        if any(s.is_stream for s in scenes):
            raise UsageError(
                f"--validation {held_out.path}: an endless stream of scenes; expected a single one, synth:ORGAN:SEED"
            )
        for organ, seed in [(s.organ, s.seed) for s in scenes] or _rendered(held_out.path):
            for data, first in stream:
                if organ == first.organ and seed >= first.seed:
                    raise UsageError(
                        f"{held_out.path} (validation) is {organ} {seed}, one of the scenes of {data.path} (training); "
                        "expected a smaller seed. Start the stream later, or validate on another organ"
                    )


def find_in_training_record(measured: DataPath, trained_on: Sequence[str]) -> str | None:
    """Find the source in a record of training sources (NAME or NAME:FIRST-LAST) that may hold the measured frames.

    The record holds no pictures: the name of the folder and the range are all that can be compared; for a rendered clip
    and a stream of scenes these are organ and seed.
    """
    name, rendered = measured.path.resolve().name, _rendered(measured.path)
    for text in trained_on:
        source = DataPath.parse(text)
        if source.path.name == name and _ranges_meet(source, measured):
            return text
        stream = [s for s in rendered_scenes(source) if s.is_stream]
        if any(organ == s.organ and seed >= s.seed for organ, seed in rendered for s in stream):
            return text
    return None


def _rendered(clip: Path) -> list[tuple[str, int]]:
    """Organ and seed of a rendered clip; empty for any other path, or if its scene.yaml cannot be read."""
    try:
        content = parse_yaml(regular(clip / "scene.yaml").read_text())
        return [(str(content["organ"]), int(content["seed"]))]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def _ranges_meet(a: DataPath, b: DataPath) -> bool:
    return (b.last is None or a.first <= b.last) and (a.last is None or b.first <= a.last)


def _check_pair(
    source: OpenedSource,
    training_prints: NDArray[np.float32],
    held_out: OpenedSource,
    validation_prints: list[NDArray[np.float32]],
) -> None:
    where = f"{held_out.data.label} (validation) and {source.data.label} (training)"
    if held_out.data.path.resolve() == source.data.path.resolve():
        # Frames of one path are compared by number: the two sides of a cut look alike but are not the same frames.
        common = sorted(set(source.frames.numbers) & set(held_out.frames.numbers))
        if common:
            raise UsageError(
                f"{where} share {len(common)} frames ({common[0]} to {common[-1]}); expected none. "
                "Give ranges that do not overlap: PATH:FIRST-LAST"
            )
        return
    alike = np.max([(window @ training_prints.T).max(1) for window in validation_prints], axis=0) > MIN_CORRELATION
    if alike.sum() >= min(MIN_SHARED_FRAMES, len(alike), len(training_prints)):
        raise UsageError(
            f"{where} show the same frames ({alike.sum()} of {len(alike)} alike); expected other sequences, or parts "
            "of one with a margin between them"
        )
