"""Training pairs: drawn from the sources, augmented, and loaded by worker processes."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dd_sfm.errors import DDSfMError
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.training.augment import (
    AugmentConfig,
    Image,
    bend_image,
    bend_points,
    crop_homography,
    displacement,
    warp_points,
)
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.photometric import draw_recording, recorded
from dd_sfm.training.sources.open_sources import MIN_POINTS
from dd_sfm.training.sources.pair_sample import PairSample, PairSource
from dd_sfm.training.sources.scene_stream import source_at

DRAWS = 20
Pair = dict[str, Tensor]
"""``images`` (2, 3, H, W) in [0, 1], ``masks`` (2, H, W) bool, ``xy`` (2, N, 2) the same points in both images."""


class PairDataset(Dataset[Pair | None]):
    """Item N is the augmented pair N, whatever was drawn before; None when no draw gives a usable pair."""

    def __init__(self, sources: Sequence[tuple[PairSource, float]], config: TrainConfig) -> None:
        self.sources = [s for s, _ in sources]
        weights = np.array([w for _, w in sources])
        self.weights = weights / weights.sum()
        self.config = config

    def __getitem__(self, number: int) -> Pair | None:
        rng = np.random.default_rng([self.config.seed, number])
        for _ in range(DRAWS):
            source = self.sources[rng.choice(len(self.sources), p=self.weights)]
            pair = augment_pair(source_at(source, number).draw(rng), rng, self.config)
            if pair is not None:
                return pair
        return None


def augment_pair(sample: PairSample, rng: np.random.Generator, config: TrainConfig) -> Pair | None:
    """Augment a pair: crops under random homographies, photometric changes; None if too few points remain in both."""
    if len(sample.xy0) < MIN_POINTS:
        return None
    augment = config.augment
    focus = int(rng.integers(len(sample.xy0)))
    # Shared by both crops: a scope may be held any way, and noses have two sides.
    angle = rng.uniform(-1, 1) * np.radians(augment.shared_rotation_deg)
    flip = bool(rng.random() < 0.5) and augment.flip
    images, masks, points = [], [], []
    recording = draw_recording(rng, augment)
    for image, mask, xy in (
        (sample.image0, sample.mask0, sample.xy0),
        (sample.image1, sample.mask1, sample.xy1),
    ):
        cropped, usable, places = _crop(
            image, mask, xy, rng, crop_homography(rng, xy[focus], angle, flip, augment), augment
        )
        images.append(recorded(cropped, rng, augment, recording) * usable[..., None])
        masks.append(usable)
        points.append(places)
    keep = np.ones(len(sample.xy0), bool)
    for xy, mask in zip(points, masks, strict=True):
        # Two pixels from the edge a descriptor still has neighbours on all sides.
        inner = mask.copy()
        inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = False, False, False, False
        keep &= inside_mask(inner, xy) & ~recording.covers(xy)
    chosen = np.flatnonzero(keep)
    if len(chosen) < MIN_POINTS:
        return None
    chosen = rng.permutation(chosen)[: config.points]
    return {
        "images": torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2),
        "masks": torch.from_numpy(np.stack(masks)),
        "xy": torch.from_numpy(np.stack([p[chosen] for p in points]).astype(np.float32)),
    }


def _crop(
    image: Image,
    mask: NDArray[np.bool_],
    xy: NDArray[Any],
    rng: np.random.Generator,
    homography: NDArray[Any],
    config: AugmentConfig,
) -> tuple[Image, NDArray[np.bool_], NDArray[Any]]:
    """The crop of an image, of its mask and of its points (N, 2); points that cannot be followed are NaN."""
    size, places = config.crop[::-1], warp_points(homography, xy)
    shift = displacement(rng, config)
    if shift is None:
        cropped = cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR)
        usable = cv2.warpPerspective(mask.astype(np.uint8), homography, size, flags=cv2.INTER_NEAREST)
        return cropped, usable > 0, places
    cropped = bend_image(image, homography, shift, cv2.INTER_LINEAR)
    usable = bend_image(mask.astype(np.uint8), homography, shift, cv2.INTER_NEAREST)
    return cropped, usable > 0, bend_points(places, shift)


def pair_numbers(step: int, batch: int, rank: int, world_size: int) -> list[int]:
    """Numbers of the pairs of a step for one of several processes: no two of them share one."""
    first = (step * world_size + rank) * batch
    return list(range(first, first + batch))


def load_batches(
    dataset: PairDataset, start: int, config: TrainConfig, rank: int = 0, world_size: int = 1
) -> Iterator[list[Pair | None]]:
    """The batches of steps ``start`` to the last, made by worker processes ahead of time."""
    steps = [pair_numbers(step, config.batch, rank, world_size) for step in range(start, config.steps)]
    ahead = max(2, 8 // config.batch)
    loader: DataLoader[Pair | DDSfMError | None] = DataLoader(
        _PairOrError(dataset),
        batch_sampler=steps,
        collate_fn=_as_list,
        num_workers=config.workers,
        prefetch_factor=ahead if config.workers else None,
        worker_init_fn=_start_worker,
    )
    return _raise_errors(loader)


class _PairOrError(Dataset[Pair | DDSfMError | None]):
    """Pairs, or the errors meant for the user: as items they keep type and message on the way from a worker process."""

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, number: int) -> Pair | DDSfMError | None:
        try:
            return self.dataset[number]
        except DDSfMError as error:
            return error


def _raise_errors(batches: Iterable[list[Pair | DDSfMError | None]]) -> Iterator[list[Pair | None]]:
    """Yield batches of pairs; raise the error of a worker process in this one."""
    for batch in batches:
        pairs: list[Pair | None] = []
        for item in batch:
            if isinstance(item, DDSfMError):
                raise item
            pairs.append(item)
        yield pairs


def _as_list(items: list[Pair | DDSfMError | None]) -> list[Pair | DDSfMError | None]:
    return items


def _start_worker(_: int) -> None:
    # Ctrl-C goes to all processes of a terminal: the trainer alone decides what then happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
