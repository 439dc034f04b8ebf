"""Refuses to measure on what was trained on: frames are compared by what they show, not by where they lie."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from dd_sfm.errors import UsageError
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.opening import OpenedSource
from dd_sfm.training.sources.spec import DataPath, rendered_scenes

SIDE, WINDOW = 26, 0.8
"""Cells a side of a small picture, and the share of the frame's middle that it shows."""
SAME = 0.97
"""Correlation of two small pictures from which they are one frame. The same sequence as JPEGs, as a video, as the
frames of a run and cropped: 0.99; another sequence: 0.73 at most; the two sides of a cut through one: 0.98, once."""
FRAMES = 3
"""So many frames in common are an overlap; fewer may be the two sides of a cut."""
MOST_FRAMES = 300
ZOOMS, SHIFTS = (0.94, 1.0, 1.06), (-0.03, 0.0, 0.03)
"""The field of view is cut a little differently from source to source."""


def fingerprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A small picture (D,) of a frame (H, W, 3), unit norm: fine structure alone, so that light matters little."""
    return _window(_small(image), 1.0, 0.0, 0.0)


def _small(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey, at four pixels a cell: enough to place a window between them."""
    size = round(4 * SIDE / WINDOW)
    grey = cv2.cvtColor(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.6)


def _window(grey: NDArray[np.float32], zoom: float, x: float, y: float) -> NDArray[np.float32]:
    """The picture in a window ``zoom`` times as large as usual, moved by ``x`` and ``y`` of the frame's size."""
    size = len(grey)
    step = WINDOW * zoom * size / SIDE
    corner = (0.5 - WINDOW * zoom / 2) * size
    place = np.array([[step, 0, corner + x * size], [0, step, corner + y * size]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small = cv2.warpAffine(grey, place, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    fine = (small - cv2.GaussianBlur(small, (0, 0), 3.0)).ravel()
    fine = fine - fine.mean()
    return np.asarray(fine / max(1e-6, float(np.linalg.norm(fine))), np.float32)


def _windows(frames: WorkingFrames) -> list[NDArray[np.float32]]:
    """Small pictures (N, D) of frames spread over a source, one array for each window."""
    chosen = sorted({int(k) for k in np.linspace(0, len(frames) - 1, min(MOST_FRAMES, len(frames)))})
    greys = [_small(frames.image(k)) for k in chosen]
    return [np.stack([_window(g, z, x, y) for g in greys]) for z in ZOOMS for x in SHIFTS for y in SHIFTS]


def check_no_overlap(training: Sequence[OpenedSource], validation: Sequence[OpenedSource]) -> None:
    """See that no source is both trained and measured on.

    Raises:
        UsageError: If ranges of one path overlap, or sources at different paths show the same frames.
    """
    if not validation:
        return
    prints = [np.stack([fingerprint(s.frames.image(k)) for k in range(len(s.frames))]) for s in training]
    for held_out in validation:
        own = _windows(held_out.frames)
        for source, theirs in zip(training, prints, strict=True):
            _check_pair(source, theirs, held_out, own)


def check_scenes(training: Sequence[DataPath], validation: Sequence[DataPath]) -> None:
    """See that no scene to be measured on is one that a series without end will come to.

    Rendered clips are known by what their scene.yaml says of organ and seed.

    Raises:
        UsageError: If one is, or is such a series itself.
    """
    series = [(d, s) for d in training for s in rendered_scenes(d) if s.is_endless]
    for held_out in validation:
        scenes = rendered_scenes(held_out)
        if any(s.is_endless for s in scenes):
            raise UsageError(
                f"--validation {held_out.path}: an endless series of scenes; expected a single one, synth:ORGAN:SEED"
            )
        for organ, seed in [(s.organ, s.seed) for s in scenes] or _rendered(held_out.path):
            for data, first in series:
                if organ == first.organ and seed >= first.seed:
                    raise UsageError(
                        f"{held_out.path} (validation) is {organ} {seed}, one of the scenes of {data.path} (training); "
                        "expected a smaller seed. Start the series later, or validate on another organ"
                    )


def named_in_training(measured: DataPath, trained_on: Sequence[str]) -> str | None:
    """Which of the sources that weights record (NAME or NAME:FIRST-LAST) may hold frames that are measured on.

    The record holds no pictures: the name of the folder and the range are all that can be compared; of a rendered clip
    and a series of scenes organ and seed.
    """
    name, rendered = measured.path.resolve().name, _rendered(measured.path)
    for text in trained_on:
        source = DataPath.parse(text)
        if source.path.name == name and _ranges_meet(source, measured):
            return text
        series = [s for s in rendered_scenes(source) if s.is_endless]
        if any(organ == s.organ and seed >= s.seed for organ, seed in rendered for s in series):
            return text
    return None


def _rendered(clip: Path) -> list[tuple[str, int]]:
    """Organ and seed of a rendered clip; nothing for any other path, or where it does not tell."""
    try:
        content = yaml.safe_load((clip / "scene.yaml").read_text())
        return [(str(content["organ"]), int(content["seed"]))]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def _ranges_meet(a: DataPath, b: DataPath) -> bool:
    return (b.last is None or a.first <= b.last) and (a.last is None or b.first <= a.last)


def _check_pair(
    source: OpenedSource, theirs: NDArray[np.float32], held_out: OpenedSource, own: list[NDArray[np.float32]]
) -> None:
    where = f"{held_out.data.label} (validation) and {source.data.label} (training)"
    if held_out.data.path.resolve() == source.data.path.resolve():
        # Of one path the numbers tell: two sides of a cut may look alike, and are not the same frames.
        common = sorted(set(source.frames.numbers) & set(held_out.frames.numbers))
        if common:
            raise UsageError(
                f"{where} share {len(common)} frames ({common[0]} to {common[-1]}); expected none. "
                "Give ranges that do not overlap: PATH:FIRST-LAST"
            )
        return
    alike = np.max([(window @ theirs.T).max(1) for window in own], axis=0) > SAME
    if alike.sum() >= min(FRAMES, len(alike), len(theirs)):
        raise UsageError(
            f"{where} show the same frames ({alike.sum()} of {len(alike)} alike); expected other sequences, or parts "
            "of one with a margin between them"
        )
