"""Pairs of frames with known correspondences: real sequences, rendered clips, and random warps of either."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.jhu import JHUSequence, read_sequence
from dd_sfm.io.truth import read_truth
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.ops.resize import resize_image, working_scale
from dd_sfm.training.augment import elastic_map


@dataclass(frozen=True)
class PairSample:
    """Two working-size frames and points that they share.

    ``image0, image1`` (H, W, 3) uint8 RGB; ``mask0, mask1`` (H, W) bool; ``xy0, xy1`` (N, 2) working pixels.
    """

    image0: NDArray[Any]
    image1: NDArray[Any]
    mask0: NDArray[np.bool_]
    mask1: NDArray[np.bool_]
    xy0: NDArray[Any]
    xy1: NDArray[Any]


class PairSource(Protocol):
    """Something that draws pairs."""

    def draw(self, rng: np.random.Generator) -> PairSample:
        """A random pair; its number of points may be zero."""
        ...


@dataclass(frozen=True)
class DataPath:
    """A training or validation source on the command line: PATH or PATH:FIRST-LAST (positions of frames)."""

    path: Path
    first: int = 0
    last: int | None = None

    @classmethod
    def parse(cls, text: str) -> "DataPath":
        """Read ``PATH[:FIRST-LAST]``; both ends belong to the range."""
        path, colon, span = text.rpartition(":")
        first, dash, last = span.partition("-")
        if colon and dash and first.isdigit() and last.isdigit():
            return cls(Path(path), int(first), int(last))
        return cls(Path(text))


def log_uniform_gap(rng: np.random.Generator, largest: int) -> int:
    """A gap in 1..largest whose logarithm is uniform: short and long gaps are drawn alike."""
    return int(np.exp(rng.uniform(0, np.log(largest + 1))))


def _crop_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


class SequenceSource:
    """A real sequence with reference points (JHU format)."""

    def __init__(self, data: DataPath, working_height_px: int, largest_gap: int = 50, spread: int = 3) -> None:
        sequence = read_sequence(data.path)
        mask = sequence.mask
        self.scale = working_scale(int(np.ptp(np.flatnonzero(mask.any(1)))) + 1, working_height_px)
        self.largest_gap = largest_gap
        box = _crop_box(mask)
        self.origin = np.array([box[1].start, box[0].start])
        self.mask = resize_image(mask[box].astype(np.uint8) * 255, self.scale) > 127
        last = len(sequence.frames) - 1 if data.last is None else data.last
        chosen = sequence.frames[data.first : last + 1]
        self.images, self.places, self.seen = [], [], []
        for frame in chosen:
            if frame not in sequence.cam_from_world:
                continue
            image = cv2.imread(str(sequence.image_paths[frame]))
            if image is None:
                raise InputError(f"{sequence.image_paths[frame]}: cannot be decoded; expected a JPEG frame")
            self.images.append(resize_image(np.ascontiguousarray(image[box][..., ::-1]), self.scale))
            self.places.append(self._project(sequence, frame))
            near = [
                sequence.points_seen[f] for f in range(frame - spread, frame + spread + 1) if f in sequence.points_seen
            ]
            # A point seen a moment before or after is taken as seen: the reference lists only SIFT's detections.
            self.seen.append(np.unique(np.concatenate(near)))
        if len(self.images) < 2:
            raise InputError(f"{data.path}: {len(self.images)} frames with a pose in the range; at least 2 needed")

    def _project(self, sequence: JHUSequence, frame: int) -> NDArray[Any]:
        """Working pixels (P, 2) of all reference points; NaN behind the camera."""
        pose = sequence.cam_from_world[frame]
        local = sequence.points @ pose[:, :3].T + pose[:, 3]
        k = sequence.intrinsics(frame)
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = local[:, :2] / local[:, 2:] * [k[0, 0], k[1, 1]] + [k[0, 2], k[1, 2]]
        xy[local[:, 2] <= 0] = np.nan
        return resize_xy(xy - self.origin, self.scale)

    def draw(self, rng: np.random.Generator) -> PairSample:
        """A pair at a log-uniform gap, in either order."""
        gap = min(log_uniform_gap(rng, self.largest_gap), len(self.images) - 1)
        i = int(rng.integers(len(self.images) - gap))
        i, j = (i, i + gap) if rng.random() < 0.5 else (i + gap, i)
        common = np.intersect1d(self.seen[i], self.seen[j])
        xy0, xy1 = self.places[i][common], self.places[j][common]
        ok = np.isfinite(xy0).all(1) & np.isfinite(xy1).all(1)
        return PairSample(self.images[i], self.images[j], self.mask, self.mask, xy0[ok], xy1[ok])


class RenderedSource:
    """A rendered clip with depth and poses."""

    def __init__(self, data: DataPath, working_height_px: int, largest_gap: int = 25, points: int = 1500) -> None:
        self.truth = read_truth(data.path)
        mask = self.truth.mask
        self.scale = working_scale(int(np.ptp(np.flatnonzero(mask.any(1)))) + 1, working_height_px)
        self.points, self.largest_gap = points, largest_gap
        self.mask = resize_image(mask.astype(np.uint8) * 255, self.scale) > 127
        self.inside = np.argwhere(mask)[:, ::-1]
        video = cv2.VideoCapture(str(self.truth.clip_path))
        self.images = []
        while (read := video.read())[0]:
            self.images.append(resize_image(np.ascontiguousarray(read[1][..., ::-1]), self.scale))
        if len(self.images) != len(self.truth.cam_from_world):
            raise InputError(
                f"{self.truth.clip_path}: {len(self.images)} frames; expected {len(self.truth.cam_from_world)}, "
                "the number of true poses"
            )

    def draw(self, rng: np.random.Generator) -> PairSample:
        """A frame with depth and any other at a log-uniform gap, in either order."""
        i = int(rng.choice(self.truth.depth_frames))
        gap = log_uniform_gap(rng, self.largest_gap) * (1 if rng.random() < 0.5 else -1)
        j = i + gap if 0 <= i + gap < len(self.images) else i - gap
        j = int(np.clip(j, 0, len(self.images) - 1))
        xy = self.inside[rng.integers(len(self.inside), size=self.points)].astype(np.float64)
        there, visible = self.truth.correspondences(i, j, xy)
        xy0, xy1 = resize_xy(xy[visible], self.scale), resize_xy(there[visible], self.scale)
        if rng.random() < 0.5:
            i, j, xy0, xy1 = j, i, xy1, xy0
        return PairSample(self.images[i], self.images[j], self.mask, self.mask, xy0, xy1)


class WarpSource:
    """A frame of another source against a smoothly bent copy of itself: exact truth from any picture."""

    def __init__(self, source: SequenceSource | RenderedSource, points: int = 1500, bend_px: float = 18.0) -> None:
        self.source, self.points, self.bend_px = source, points, bend_px

    def draw(self, rng: np.random.Generator) -> PairSample:
        """A frame and its bent copy."""
        image, mask = self.source.images[int(rng.integers(len(self.source.images)))], self.source.mask
        height, width = mask.shape
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        origin = np.stack([column, row], -1) + elastic_map(rng, height, width, rng.uniform(0, self.bend_px))
        bent = cv2.remap(image, origin, None, cv2.INTER_LINEAR)
        bent_mask = cv2.remap(mask.astype(np.uint8), origin, None, cv2.INTER_NEAREST) > 0
        inside = np.argwhere(bent_mask)
        rows, columns = inside[rng.integers(len(inside), size=self.points)].T
        there = np.stack([columns, rows], 1).astype(np.float64)
        return PairSample(image, bent, mask, bent_mask, origin[rows, columns].astype(np.float64), there)


def open_source(data: DataPath, working_height_px: int) -> SequenceSource | RenderedSource:
    """Open a folder as what it is: a rendered clip (truth.npz) or a JHU sequence (motion.yaml)."""
    if (data.path / "truth.npz").exists():
        return RenderedSource(data, working_height_px)
    if (data.path / "motion.yaml").exists():
        return SequenceSource(data, working_height_px)
    raise InputError(
        f"{data.path}: neither truth.npz (rendered clip) nor motion.yaml (JHU sequence) found; "
        "expected a folder with one of them"
    )
