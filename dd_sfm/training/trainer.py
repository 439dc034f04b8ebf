"""The trainable state: network, running average of its weights, optimiser, and the optimisation step."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dd_sfm.config import dump_config
from dd_sfm.errors import TrainingError
from dd_sfm.features.networks import build_network
from dd_sfm.features.weights import save_weights
from dd_sfm.runtime import has_bfloat16
from dd_sfm.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint, wrong_network
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.loss import response_loss
from dd_sfm.training.pairs import Pair
from dd_sfm.training.paper_loss import relative_response_loss

logger = logging.getLogger(__name__)

MAX_BAD_STEPS = 10


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of a step: a cosine after a warm-up, or triangles (Smith, WACV 2017)."""
    if config.schedule == "cyclic":
        place = step / config.cycle_steps % 2
        return config.lowest_rate + (config.learning_rate - config.lowest_rate) * (1 - abs(1 - place))
    warm = min(1.0, (step + 1) / config.warmup)
    return float(config.learning_rate * warm * (0.5 + 0.5 * np.cos(np.pi * step / config.steps)))


def _optimiser(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


class Trainer:
    """Holds the network, the running average of its weights and the optimiser, and makes the steps.

    Args:
        config: The recipe.
        out: Folder of the checkpoint.
        device: Where to train.
        group: The processes that train together.
        start: A network whose weights to start from; None for random ones.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        device: torch.device,
        group: ProcessGroup | None = None,
        start: nn.Module | None = None,
    ) -> None:
        self.config, self.out, self.device, self.group = config, out, device, group or ProcessGroup()
        torch.manual_seed(config.seed)
        self.options = config.network_options()
        self.network = build_network(config.architecture, **self.options).to(device)
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        self.averaged_network = build_network(config.architecture, **self.options).to(device)
        self.averaged_network.load_state_dict(self.network.state_dict())
        self.optimiser = _optimiser(self.network, config)
        self.bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and has_bfloat16(device))
        self.step, self.bad_steps = 0, 0
        self.best, self.validations_since_best = -1.0, 0
        """The best accuracy of a validation, and how many validations there were since."""
        self.has_warm_start = start is not None

    @property
    def checkpoint_path(self) -> Path:
        """Where the state is kept."""
        return self.out / CHECKPOINT

    @property
    def is_done(self) -> bool:
        """Whether all steps asked for are made."""
        return self.step >= self.config.steps

    def resume(self) -> bool:
        """Continue from the checkpoint in the output folder, if there is one.

        Raises:
            WeightsError: If it is damaged, or of another network.
        """
        if not self.checkpoint_path.exists():
            return False
        state = load_checkpoint(self.checkpoint_path, self.device, self.config.architecture, self.options)
        try:
            self.network.load_state_dict(state["network"])
            self.averaged_network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise wrong_network(self.checkpoint_path, self.config.architecture, error) from error
        self.step = int(state["step"])
        self.best, self.validations_since_best = float(state.get("best", -1.0)), int(state.get("stale", 0))
        self.has_warm_start = bool(state.get("warm_start", self.has_warm_start))
        self._say_changes(state.get("config", {}))
        return True

    def _say_changes(self, before: dict[str, Any]) -> None:
        now = dump_config(self.config)
        changed = [f"{k} {before[k]} -> {v}" for k, v in now.items() if k in before and before[k] != v]
        if changed:
            logger.info("settings that changed since the checkpoint: %s", "; ".join(changed))

    def save(self) -> None:
        """Write the checkpoint; only the main process does."""
        if not self.group.is_main:
            return
        save_checkpoint(
            self.checkpoint_path,
            {
                "network": self.network.state_dict(),
                "average": self.averaged_network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "architecture": self.config.architecture,
                "options": self.options,
                "warm_start": self.has_warm_start,
                "best": self.best,
                "stale": self.validations_since_best,
                "config": dump_config(self.config),
            },
        )

    def train_step(self, pairs: Sequence[Pair]) -> float:
        """One optimiser step on a batch of pairs; returns the mean loss.

        Raises:
            TrainingError: If the gradients were not finite for several steps in a row.
        """
        config, done = self.config, self.step / self.config.steps
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config, self.step)
        self.network.train()
        scale = config.scale[0] + (config.scale[1] - config.scale[0]) * done
        self.optimiser.zero_grad(set_to_none=True)
        size = config.micro_batch or (1 if self.device.type == "cpu" else len(pairs))
        total = 0.0
        for start in range(0, len(pairs), size):
            part = pairs[start : start + size]
            losses = pair_losses(
                self.network, part, scale, config.loss, self.device, margin=config.margin, bfloat16=self.bfloat16
            )
            loss = losses.sum() / len(pairs) * config.loss_weight
            loss.backward()
            total += float(loss.detach())
        self._average_gradients()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self._check_gradient(bool(torch.isfinite(norm)))
        if self.bad_steps == 0:
            self.optimiser.step()
            self._update_average()
        self.step += 1
        return total

    def _average_gradients(self) -> None:
        """Mean gradients, and statistics of batch normalisation, over all processes."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        buffers = [b for b in self.network.buffers() if b.is_floating_point()]
        self.group.average([*gradients, *buffers])

    def _check_gradient(self, is_finite: bool) -> None:
        self.bad_steps = 0 if is_finite else self.bad_steps + 1
        if self.bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"step {self.step}: the gradient was not finite {MAX_BAD_STEPS} times in a row; expected finite "
                f"numbers. Lower learning_rate (it is {self.config.learning_rate:g})"
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        # The decay is lower at first, so that random initial weights leave the average soon.
        decay = self.config.average
        if not self.has_warm_start:
            decay = min(decay, (2 + self.step) / (11 + self.step))
        new = self.network.state_dict()
        for name, value in self.averaged_network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def export(self, path: Path, extra: dict[str, str]) -> Path:
        """Write the averaged weights as fp16 safetensors."""
        save_weights(path, self.averaged_network, self.config.architecture, self.options, extra=extra, half=True)
        return path


def pair_losses(
    network: nn.Module,
    pairs: Sequence[Pair],
    scale: float,
    kind: str,
    device: torch.device,
    *,
    margin: float = 0.0,
    bfloat16: bool = True,
) -> Tensor:
    """Losses (B,) of pairs in both directions; all of them go through the network together."""
    images = torch.cat([p["images"] for p in pairs]).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        maps = network(images.contiguous(memory_format=torch.channels_last))
    stride = int(cast(int, network.stride))
    height, width = maps.shape[-2:]
    losses = []
    for pair, (map0, map1) in zip(pairs, maps.unflatten(0, (-1, 2)), strict=True):
        xy = pair["xy"].to(device)
        if kind == "relative":
            losses.append(relative_response_loss(map0, map1, xy[0], xy[1], stride=stride, scale=scale))
            continue
        usable = pair["masks"][:, : height * stride : stride, : width * stride : stride].to(device)
        forward = response_loss(map0, map1, xy[0], xy[1], usable[1], stride, scale, margin)
        backward = response_loss(map1, map0, xy[1], xy[0], usable[0], stride, scale, margin)
        losses.append((forward + backward) / 2)
    return torch.stack(losses)
