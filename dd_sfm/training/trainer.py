"""The training loop: draws pairs, learns, averages weights, validates, and resumes where it stopped."""

import json
import logging
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dd_sfm.config import dump_config
from dd_sfm.errors import OutputError, WeightsError
from dd_sfm.io.weights import save_weights
from dd_sfm.nets import build_network
from dd_sfm.progress import Progress
from dd_sfm.training.augment import AugmentConfig, crop_homography, photometric, warp_points
from dd_sfm.training.loss import response_loss
from dd_sfm.training.sources import DataPath, PairSample, PairSource, RenderedSource, WarpSource, open_source
from dd_sfm.training.validation import matching_accuracy

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainConfig:
    """How a descriptor is trained."""

    architecture: Literal["compact", "fc_densenet"] = "compact"
    """Which network."""
    steps: int = 10000
    """Optimiser steps, one pair each."""
    learning_rate: float = 1e-3
    """Peak of the cosine schedule."""
    warmup: int = 60
    """Steps of linear warm-up."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    gradient_clip: float = 2.0
    """Largest norm of the gradient."""
    points: int = 192
    """Most query points a pair and direction."""
    scale: tuple[float, float] = (16.0, 32.0)
    """Factor on the cosine in the softmax, at the start and at the end."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is saved."""
    mix: tuple[float, float, float] = (0.4, 0.4, 0.2)
    """Shares of real pairs, rendered pairs and warped single frames."""
    working_height_px: int = 500
    """Height of the field of view in working pixels."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Strength of the augmentation."""
    validate_every: int = 1000
    """Steps between validations."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    workers: int = 1
    """Processes that prepare pairs."""
    seed: int = 0
    """Seed of the weights and of every pair; pair N is the same after a restart."""


class PairDataset(Dataset[dict[str, Tensor]]):
    """Item N is the augmented pair of step N, whatever was drawn before."""

    def __init__(self, sources: Sequence[tuple[PairSource, float]], config: TrainConfig) -> None:
        self.sources = [s for s, _ in sources]
        weights = np.array([w for _, w in sources])
        self.weights = weights / weights.sum()
        self.config = config

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.config.seed, step])
        for _ in range(20):
            source = self.sources[rng.choice(len(self.sources), p=self.weights)]
            pair = augment_pair(source.draw(rng), rng, self.config)
            if pair is not None:
                return pair
        raise ValueError("no usable pair in 20 draws")


def augment_pair(sample: PairSample, rng: np.random.Generator, config: TrainConfig) -> dict[str, Tensor] | None:
    """Crop, bend and relight a pair; None when fewer than 16 points remain in both crops."""
    import cv2

    if len(sample.xy0) < 16:
        return None
    augment = config.augment
    focus = int(rng.integers(len(sample.xy0)))
    angle, flip = rng.uniform(-np.pi, np.pi), bool(rng.random() < 0.5)
    images, masks, points = [], [], []
    size = augment.crop[::-1]
    for image, mask, xy in (
        (sample.image0, sample.mask0, sample.xy0),
        (sample.image1, sample.mask1, sample.xy1),
    ):
        h = crop_homography(rng, xy[focus], angle, flip, augment)
        warped = cv2.warpPerspective(image, h, size, flags=cv2.INTER_LINEAR)
        usable = cv2.warpPerspective(mask.astype(np.uint8), h, size, flags=cv2.INTER_NEAREST) > 0
        lit = photometric(warped, rng, augment.photometric)
        images.append(lit * usable[..., None])
        masks.append(usable)
        points.append(warp_points(h, xy))
    keep = np.ones(len(sample.xy0), bool)
    for xy, mask in zip(points, masks, strict=True):
        cell = np.round(np.nan_to_num(xy, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(int)
        inside = ((cell >= 2) & (cell < np.array(size) - 2)).all(1)
        keep &= inside
        keep[inside] &= mask[cell[inside, 1], cell[inside, 0]]
    chosen = np.flatnonzero(keep)
    if len(chosen) < 16:
        return None
    chosen = rng.permutation(chosen)[: config.points]
    return {
        "images": torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2),
        "masks": torch.from_numpy(np.stack(masks)),
        "xy": torch.from_numpy(np.stack([p[chosen] for p in points]).astype(np.float32)),
    }


def pair_loss(network: nn.Module, pair: dict[str, Tensor], scale: float, device: torch.device) -> Tensor:
    """Response loss of a pair in both directions."""
    images = pair["images"].to(device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        maps = network(images)
    stride = int(cast(int, network.stride))
    height, width = maps.shape[-2:]
    usable = pair["masks"][:, : height * stride : stride, : width * stride : stride].to(device)
    xy = pair["xy"].to(device)
    forward = response_loss(maps[0], maps[1], xy[0], xy[1], usable[1], stride, scale)
    backward = response_loss(maps[1], maps[0], xy[1], xy[0], usable[0], stride, scale)
    return (forward + backward) / 2


def open_sources(data: Sequence[DataPath], config: TrainConfig) -> list[tuple[PairSource, float]]:
    """Sources with their weights: the mix is shared evenly among the sources of a kind."""
    opened = [open_source(d, config.working_height_px) for d in data]
    rendered = [s for s in opened if isinstance(s, RenderedSource)]
    real = [s for s in opened if not isinstance(s, RenderedSource)]
    weighted: list[tuple[PairSource, float]] = []
    for group, share in ((real, config.mix[0]), (rendered, config.mix[1])):
        weighted += [(s, share / len(group)) for s in group]
    weighted += [(WarpSource(s), config.mix[2] / len(opened)) for s in opened]
    return weighted


class Trainer:
    """Holds what changes while training: network, average, optimiser, step."""

    def __init__(self, config: TrainConfig, out: Path, device: torch.device) -> None:
        self.config, self.out, self.device = config, out, device
        torch.manual_seed(config.seed)
        self.network = build_network(config.architecture).to(device)
        self.average = build_network(config.architecture).to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0

    @property
    def checkpoint_path(self) -> Path:
        """Where the state is kept."""
        return self.out / CHECKPOINT

    def resume(self) -> bool:
        """Continue from the checkpoint in the output folder, if there is one."""
        if not self.checkpoint_path.exists():
            return False
        try:
            state = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, KeyError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise WeightsError(
                f"{self.checkpoint_path}: not a checkpoint of this network ({type(error).__name__}); "
                "choose another output folder or use --overwrite"
            ) from error
        self.step = int(state["step"])
        return True

    def save(self) -> None:
        """Write the checkpoint, replacing the last one only when the new one is complete."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        partial = self.checkpoint_path.with_suffix(".partial")
        try:
            torch.save(state, partial)
            partial.replace(self.checkpoint_path)
        except OSError as error:
            raise OutputError(f"{self.checkpoint_path}: cannot be written ({error}); the last one is kept") from error

    def learn(self, pair: dict[str, Tensor]) -> float:
        """One optimiser step; returns the loss."""
        config, done = self.config, self.step / self.config.steps
        rate = config.learning_rate * min(1.0, (self.step + 1) / config.warmup) * (0.5 + 0.5 * np.cos(np.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = float(rate)
        self.network.train()
        scale = config.scale[0] + (config.scale[1] - config.scale[0]) * done
        loss = pair_loss(self.network, pair, scale, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        # Short memory first, so that the average does not hold on to the random start.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        new = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def export(self, notes: dict[str, Any]) -> Path:
        """Write the averaged weights as fp16 safetensors."""
        path = self.out / "weights.safetensors"
        save_weights(path, self.average, self.config.architecture, {}, extra={"training": json.dumps(notes)}, half=True)
        return path


def _batches(dataset: PairDataset, start: int, workers: int) -> Iterator[dict[str, Tensor]]:
    steps = range(start, len(dataset))
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        dataset, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=8 if workers else None
    )
    return iter(loader)


def train(
    data: Sequence[DataPath],
    validation: Sequence[DataPath],
    out: Path,
    config: TrainConfig,
    device: torch.device,
    progress: Progress,
) -> Path:
    """Train a descriptor, or go on with the training found in ``out``.

    Args:
        data: Sources to learn from.
        validation: Sources to measure on, none of whose frames may be among ``data``.
        out: Folder for checkpoint.pt, history.jsonl and weights.safetensors.
        config: The recipe.
        device: Where to train.
        progress: Shows the steps.

    Returns:
        Path of the exported weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, out, device)
    if trainer.resume():
        logger.info("resumed at step %d of %d", trainer.step, config.steps)
    dataset = PairDataset(open_sources(data, config), config)
    held_out = [(d.path.name, open_source(d, config.working_height_px)) for d in validation]
    recent: list[float] = []
    started = time.monotonic()
    remaining = config.steps - trainer.step
    for pair in progress(_batches(dataset, trainer.step, config.workers), total=remaining, label="train"):
        recent.append(trainer.learn(pair))
        last = trainer.step == config.steps
        if trainer.step % config.validate_every == 0 or last:
            record = {
                "step": trainer.step,
                "loss": round(float(np.mean(recent)), 4),
                "seconds": round(time.monotonic() - started, 1),
                **{name: matching_accuracy(trainer.average, source, device) for name, source in held_out},
            }
            recent.clear()
            logger.info("%s", json.dumps(record))
            with (out / "history.jsonl").open("a") as history:
                history.write(json.dumps(record) + "\n")
        if trainer.step % config.checkpoint_every == 0 or last:
            trainer.save()
    return trainer.export({"config": dump_config(config), "data": [str(d.path.name) for d in data]})
