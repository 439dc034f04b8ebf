"""How a descriptor is trained: every default, as ``dd_sfm.config`` holds those of a reconstruction."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dd_sfm.config_checks import POSITIVE, SHARE, Range, check_ranges
from dd_sfm.errors import ConfigError
from dd_sfm.training.augment import AugmentConfig


@dataclass(frozen=True)
class RenderConfig:
    """Clips rendered for ``synth:ORGAN[:SEED]`` and ``synth:ORGAN:SEED+``."""

    frames: int = 40
    """Frames of a clip."""
    width: int = 640
    """Width in pixels."""
    height: int = 360
    """Height in pixels."""
    difficulty: Literal["easy", "real", "hard"] = "real"
    """Texture, noise and motion."""
    variety: float = 0.0
    """How far lens, light, sensor, compression and tissue may be from the usual, by the seed; 1: as scopes are."""
    every: int = 500
    """synth:ORGAN:SEED+: pairs of a scene; then comes the next."""


@dataclass(frozen=True)
class TrainConfig:
    """How a descriptor is trained."""

    architecture: Literal["compact", "fc_densenet"] = "compact"
    """Which network."""
    descriptor_dim: int | None = None
    """Length of a descriptor; null: the network's own (compact 64, fc_densenet 256)."""
    growth: int | None = None
    """fc_densenet: channels that a layer adds; null: its own (10)."""
    steps: int = 10000
    """Optimiser steps."""
    batch: int = 1
    """Pairs a step and process."""
    micro_batch: int | None = None
    """Pairs in the network at once, gradients add up; null: all on a GPU, one on a CPU."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """sgd: momentum 0.9."""
    schedule: Literal["cosine", "cyclic"] = "cosine"
    """cosine: warm-up, then down to zero; cyclic: triangles between lowest_rate and learning_rate."""
    learning_rate: float = 1e-3
    """Highest learning rate."""
    lowest_rate: float = 1e-4
    """cyclic: the lowest."""
    cycle_steps: int = 2000
    """cyclic: steps from the lowest to the highest."""
    warmup: int = 60
    """cosine: steps of linear warm-up."""
    weight_decay: float = 1e-4
    """Weight decay."""
    gradient_clip: float = 2.0
    """Largest norm of the gradient."""
    loss: Literal["response", "relative"] = "response"
    """response: labels between cells, usable cells only; relative: as published, nearest cell, all cells."""
    margin: float = 0.0
    """loss=response: cosine by which the true place has to beat cells that are not near it; makes look-alikes count."""
    loss_weight: float = 1.0
    """Factor on the loss."""
    points: int = 192
    """Most query points a pair and direction."""
    scale: tuple[float, float] = (16.0, 32.0)
    """Factor on the cosine in the softmax, at the start and at the end."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is saved; 0: the weights themselves."""
    mix: tuple[float, float, float] = (0.4, 0.4, 0.2)
    """Shares of pairs with poses, rendered pairs, and warped single frames."""
    gaps: tuple[int, int] = (1, 50)
    """Least and greatest distance of the frames of a pair."""
    rendered_gaps: tuple[int, int] = (1, 25)
    """The same for rendered clips, which move faster."""
    visibility_spread: int = 3
    """A point that a frame sees is taken as seen by this many frames before and after it."""
    inlier_share: float = 1.0
    """Below 1: points whose brightness times squared depth lies outside this share of a frame's are dropped."""
    max_points_per_frame: int = 4000
    """Points kept of a frame, the same ones in all frames."""
    max_frames: int = 2000
    """Frames kept of a source, thinned evenly (videos and folders of images)."""
    memory_mb: int = 500
    """A source whose frames take more than this is held as JPEGs."""
    cache: Path | None = None
    """Folder where prepared sources are kept for the next time; null: none."""
    working_height_px: int = 500
    """Height of the field of view in working pixels."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Strength of the augmentation."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """Clips of synth:ORGAN."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; auto: bfloat16 where the machine has it in hardware."""
    validate_every: int = 1000
    """Steps between validations."""
    display_every: int = 1000
    """Steps between pictures of the response (0: none)."""
    display_radius_px: float = 5.0
    """Circle around a true place in these pictures, in working pixels."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    patience: int = 0
    """Stop after this many validations without a better one (0: never)."""
    tensorboard: bool = True
    """Write TensorBoard files where it is installed."""
    workers: int = 1
    """Processes that prepare pairs."""
    seed: int = 0
    """Seed of the weights and of every pair; pair N is the same after a restart."""

    def network_options(self) -> dict[str, Any]:
        """Arguments of the network that differ from its own."""
        options: dict[str, Any] = {}
        if self.descriptor_dim is not None:
            options["dim"] = self.descriptor_dim
        if self.growth is not None:
            options["growth"] = self.growth
        return options


ADAPT = replace(
    TrainConfig(),
    steps=300,
    learning_rate=3e-4,
    warmup=20,
    scale=(28.0, 32.0),
    average=0.99,
    mix=(0.75, 0.75, 0.25),
    gaps=(1, 30),
    validate_every=100,
    display_every=0,
    checkpoint_every=100,
    augment=AugmentConfig(rotation_deg=15.0, scale=0.2, perspective=0.08, photometric=0.7),
)
"""A few hundred careful steps from weights that are good already."""


COUNT, NOT_NEGATIVE = Range(1), Range(0)
RANGES = {
    **dict.fromkeys(
        ("descriptor_dim", "growth", "steps", "batch", "micro_batch", "cycle_steps", "warmup", "points", "gaps",
         "rendered_gaps", "max_points_per_frame", "max_frames", "working_height_px", "validate_every",
         "checkpoint_every"), COUNT),
    **dict.fromkeys(
        ("learning_rate", "lowest_rate", "gradient_clip", "loss_weight", "scale", "display_radius_px"), POSITIVE),
    **dict.fromkeys(
        ("weight_decay", "margin", "mix", "visibility_spread", "memory_mb", "display_every", "patience", "workers",
         "augment.rotation_deg", "augment.shared_rotation_deg", "augment.scale", "augment.photometric",
         "augment.deformation_px", "augment.motion_blur_px"), NOT_NEGATIVE),
    "average": SHARE,
    "inlier_share": Range(0, 1, above=True),
    "augment.crop": Range(64),
    **dict.fromkeys(
        ("augment.perspective", "augment.recesses", "augment.compression", "augment.overlay"), SHARE),
    "augment.camera": Range(0, 3),
    "augment.lens": Range(0, 0.3),
    "render.frames": Range(3),
    "render.every": COUNT,
    "render.variety": SHARE,
    "render.width": Range(96, 4096),
    "render.height": Range(96, 4096),
    "seed": Range(0, 2**31 - 1),
}  # fmt: skip
"""By key what it may be; of a list every number."""


def check_config(config: TrainConfig) -> None:
    """Refuse values that cannot be trained with.

    Raises:
        ConfigError: With the value found and what was expected.
    """
    check_ranges(config, RANGES)
    if config.average == 1:
        raise ConfigError(f"average {config.average}: expected a share from 0, below 1")
    for name in ("gaps", "rendered_gaps"):
        low, high = getattr(config, name)
        if low > high:
            raise ConfigError(f"{name} [{low}, {high}]: expected two numbers, 1 or more, the smaller first")
    if sum(config.mix) == 0:
        raise ConfigError(f"mix {list(config.mix)}: expected three shares of 0 or more, not all 0")
    if config.margin > 0 and config.loss != "response":
        raise ConfigError(
            f"margin {config.margin:g}: loss is {config.loss}; expected response, the only loss with a margin"
        )
    if config.growth is not None and config.architecture != "fc_densenet":
        raise ConfigError(
            f"growth {config.growth}: architecture is {config.architecture}; expected fc_densenet, which alone has it"
        )
