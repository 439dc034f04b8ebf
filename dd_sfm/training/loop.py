"""The training loop: draws pairs, optimises, validates, writes pictures and checkpoints, and stops on Ctrl-C."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_sfm.config import dump_config
from dd_sfm.errors import InputError, StoppedError
from dd_sfm.progress import Part, Progress, plan_ahead
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.history import LoadingTimer, append_record, finished_step, trim_history
from dd_sfm.training.leakage import check_no_leakage
from dd_sfm.training.output import LAST, WEIGHTS, check_output, clear_output, create_output, held_by
from dd_sfm.training.pairs import DRAWS, Pair, PairDataset, load_batches
from dd_sfm.training.response_picture import response_picture
from dd_sfm.training.sources.open_sources import OpenedSource, open_sources, sampling_shares
from dd_sfm.training.sources.pair_sample import PairSample, PairSource
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.sources.unposed import FindFieldOfView
from dd_sfm.training.tensorboard_writer import TensorBoardWriter
from dd_sfm.training.trainer import Trainer, learning_rate
from dd_sfm.training.validation import Validation, matching_accuracy

logger = logging.getLogger(__name__)

DISPLAYED_SOURCES = 4
"""Number of sources of which a pair is pictured with its response."""
ShowStatus = Callable[[str], None]
"""Shows a short text beside the progress bar."""


@dataclass(frozen=True)
class TrainRequest:
    """What to train on, how, and where to write.

    ``find_field_of_view``: see :data:`dd_sfm.training.sources.unposed.FindFieldOfView`; ``start``: a network to start
    from, None for random weights; ``initial_sources``: the sources it was trained on, by its own record;
    ``evaluated_later``: opened sources whose frames must not be trained on either; ``overwrite``: start over in the
    folder of an earlier training.
    """

    data: tuple[DataPath, ...]
    validation: tuple[DataPath, ...]
    out: Path
    config: TrainConfig
    device: torch.device
    find_field_of_view: FindFieldOfView
    start: torch.nn.Module | None = None
    initial_sources: tuple[str, ...] = ()
    evaluated_later: tuple[OpenedSource, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class TrainResult:
    """Result of a training. ``best``: the best mean accuracy of a validation, negative without one."""

    weights: Path
    step: int
    best: float
    stopped_early: bool
    pairs_per_s: float
    waiting_share: float


def train(
    request: TrainRequest,
    progress: Progress,
    *,
    group: ProcessGroup | None = None,
    show_status: ShowStatus | None = None,
) -> TrainResult:
    """Train a descriptor, or resume the training found in the output folder.

    Writes weights.safetensors (the best by validation, the last without one), last.safetensors, checkpoint.pt,
    history.jsonl, training.yaml, display/ and tensorboard/.

    Args:
        request: What to train on and how.
        progress: Shows the steps.
        group: The processes that train together.
        show_status: Shows the loss.

    Raises:
        InputError: If a source cannot be used.
        UsageError: If training and validation share frames.
        WeightsError: If the checkpoint in the folder is of something else.
        OutputError: If the folder belongs to something else or cannot be written.
        StoppedError: If the user stopped it; a checkpoint is then written.
    """
    group = group or ProcessGroup()
    check_output(request.out, overwrite=request.overwrite)
    sources = open_sources(request.data, request.config, request.find_field_of_view)
    held_out = open_sources(request.validation, request.config, request.find_field_of_view, "measure on")
    check_no_leakage(sources, [*held_out, *request.evaluated_later])
    shares = sampling_shares(sources, request.config.mix)
    with held_by(group, request.out):
        return _train(request, progress, group, show_status, (sources, held_out), shares)


def _train(
    request: TrainRequest,
    progress: Progress,
    group: ProcessGroup,
    show_status: ShowStatus | None,
    opened: tuple[Sequence[OpenedSource], Sequence[OpenedSource]],
    shares: Sequence[tuple[PairSource, float]],
) -> TrainResult:
    """See :func:`train`; ``opened``: the sources to train on and those to measure on."""
    sources, held_out = opened
    trainer = Trainer(request.config, request.out, request.device, group, request.start)
    if request.overwrite and group.is_main:
        # Only once sources, shares and network are known to be valid: a mistyped argument must not cost a training.
        clear_output(request.out)
    group.wait()
    if trainer.resume():
        _log_resume(trainer)
        if trainer.is_done and finished_step(request.out) == trainer.step:
            # The files record the steps and sources they were made with: they are left as they are.
            return TrainResult(request.out / WEIGHTS, trainer.step, trainer.best, False, 0.0, 0.0)
    if group.is_main:
        # Steps after the checkpoint are done once more.
        trim_history(request.out, trainer.step)
    create_output(request.out, request.config, request.data, request.validation, group)
    names = [*request.initial_sources, *(s.name for s in sources)]
    loop = _TrainingLoop(
        trainer, _training_record(request.config, names), held_out, shares, _pairs_to_show(held_out or sources)
    )
    try:
        return loop.run(progress, show_status or (lambda text: None))
    finally:
        loop.writer.close()


def _training_record(config: TrainConfig, sources: Sequence[str]) -> dict[str, str]:
    """Metadata of the weights: the settings of their training, and the names of all sources, each once.

    Without the folder of prepared sources, which is a path on one machine: weights are given to others.
    """
    settings = dump_config(replace(config, cache=None))
    return {"training": json.dumps({"config": settings, "data": list(dict.fromkeys(sources))})}


def _log_resume(trainer: Trainer) -> None:
    if trainer.is_done:
        logger.info(
            "already at step %d, of %d asked for: nothing is left to do. Ask for more with --steps, or start over with "
            "--overwrite",
            trainer.step,
            trainer.config.steps,
        )
    else:
        logger.info("going on after step %d of %d", trainer.step, trainer.config.steps)


class _TrainingLoop:
    """The loop with the writers, timers and losses that its methods share."""

    def __init__(
        self,
        trainer: Trainer,
        record: dict[str, str],
        held_out: Sequence[OpenedSource],
        shares: Sequence[tuple[PairSource, float]],
        shown: Sequence[tuple[str, PairSample]],
    ) -> None:
        self.trainer, self.shares, self.held_out = trainer, shares, held_out
        self.config, self.group, self.out = trainer.config, trainer.group, trainer.out
        self.writer = TensorBoardWriter(self.out, enabled=self.config.tensorboard and self.group.is_main)
        self.timer = LoadingTimer()
        self.losses: list[float] = []
        self.display_pairs, self.metadata = shown, record

    def run(self, progress: Progress, show_status: ShowStatus) -> TrainResult:
        trainer, config, group = self.trainer, self.config, self.group
        is_early = self._is_out_of_patience()
        if is_early or trainer.is_done:
            return self._finish(is_early)
        dataset = PairDataset(self.shares, config)
        batches = load_batches(dataset, trainer.step, config, group.rank, group.world_size)
        remaining = config.steps - trainer.step
        plan_ahead(progress, [Part("train", "train", float(remaining))])
        with _stop_signal() as stop:
            for pairs in progress(self.timer.time_batches(batches), total=remaining, label="train"):
                self._train_step(pairs, show_status)
                is_early = self._display_and_validate()
                is_stopped = group.any(stop.came, trainer.device)
                is_early = group.any(is_early, trainer.device)
                if is_stopped or is_early or trainer.step % config.checkpoint_every == 0 or trainer.is_done:
                    trainer.save()
                if is_stopped and not trainer.is_done:
                    raise StoppedError(
                        f"stopped after step {trainer.step} of {config.steps}; the checkpoint is written: repeat the "
                        "command to go on",
                        stop.number,
                        resumes=True,
                    )
                if is_early:
                    logger.info("no better validation %d times: stopped at step %d", config.patience, trainer.step)
                    break
        return self._finish(is_early)

    def _train_step(self, pairs: Sequence[Pair | None], show_status: ShowStatus) -> None:
        usable = [p for p in pairs if p is not None]
        if not usable:
            raise InputError(
                f"step {self.trainer.step}: no usable pair in {DRAWS} draws; expected crops of "
                f"{self.config.augment.crop[0]}x{self.config.augment.crop[1]} that share points. Use sources with "
                "more points, smaller gaps, or less augmentation"
            )
        rate = learning_rate(self.config, self.trainer.step)
        loss = self.trainer.train_step(usable)
        self.losses.append(loss)
        show_status(f"loss {np.mean(self.losses[-50:]):.3f}")
        if self.trainer.step % 10 == 0:
            self.writer.scalars(self.trainer.step, {"loss": loss, "learning rate": rate})

    def _display_and_validate(self) -> bool:
        """Write pictures and validate when they are due; return whether patience has run out."""
        config, step = self.config, self.trainer.step
        if not self.group.is_main:
            return False
        before, speed = time.monotonic(), self.timer.speed(self.group.world_size)
        if config.display_every and step % config.display_every == 0:
            trainer, radius = self.trainer, config.display_radius_px
            for number, (name, pair) in enumerate(self.display_pairs, 1):
                picture = response_picture(trainer.averaged_network, pair, trainer.device, radius_px=radius)
                self.writer.picture(step, number, name, picture)
        if step % config.validate_every == 0 or self.trainer.is_done:
            self._validate(speed)
        self.timer.pause(time.monotonic() - before)
        return self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.trainer.validations_since_best

    def _validate(self, speed: dict[str, float]) -> None:
        trainer = self.trainer
        results = {s.name: validate(trainer.averaged_network, s, trainer.device) for s in self.held_out}
        record: dict[str, Any] = {
            "step": trainer.step,
            "loss": round(float(np.mean(self.losses)), 4),
            "seconds": round(self.timer.seconds, 1),
            **speed,
            **{name: result.as_json() for name, result in results.items()},
        }
        self.losses.clear()
        self.writer.validation(trainer.step, results)
        logger.info("%s", _validation_line(record, results))
        if results:
            score = float(np.mean([r.overall.score for r in results.values()]))
            trainer.validations_since_best = 0 if score > trainer.best else trainer.validations_since_best + 1
            if score > trainer.best:
                trainer.best = score
                trainer.export(self.out / WEIGHTS, self.metadata)
        append_record(self.out, record)

    def _finish(self, stopped_early: bool) -> TrainResult:
        trainer, speed = self.trainer, self.timer.speed(self.group.world_size)
        weights = self.out / WEIGHTS
        if self.group.is_main:
            trainer.export(self.out / LAST, self.metadata)
            if not self.held_out or not weights.exists():
                trainer.export(weights, self.metadata)
            if finished_step(self.out) != trainer.step:
                append_record(self.out, {"step": trainer.step, "finished": True, "early": stopped_early, **speed})
            if self.timer.pairs:
                logger.info(
                    "%.2f pairs/s, %.1f %% of the time waiting for pairs",
                    speed["pairs_per_s"],
                    100 * speed["waiting_share"],
                )
        self.group.wait()
        return TrainResult(
            weights, trainer.step, trainer.best, stopped_early, speed["pairs_per_s"], speed["waiting_share"]
        )


def validate(network: torch.nn.Module, source: OpenedSource, device: torch.device, pairs: int = 6) -> Validation:
    """Accuracy on a source; frames without poses are measured on warps, which have no gap."""
    if source.kind == "unposed":
        return matching_accuracy(network, source.pairs, device, gaps=(0,), pairs=4 * pairs)
    return matching_accuracy(network, source.pairs, device, pairs=pairs)


def _validation_line(record: dict[str, Any], results: dict[str, Validation]) -> str:
    parts = [f"step {record['step']}", f"loss {record['loss']:.3f}", f"{record['pairs_per_s']:.2f} pairs/s"]
    for name, result in results.items():
        shares = "/".join(f"{100 * p:.0f}" for p in result.overall.pck)
        limits = "/".join(f"{t:g}" for t in result.overall.thresholds_px)
        parts.append(f"{name} {shares} % within {limits} px")
    return ", ".join(parts)


def _pairs_to_show(sources: Sequence[OpenedSource]) -> list[tuple[str, PairSample]]:
    """A pair of each of the first sources, with its name; sources whose pairs share too few points are left out."""
    found = []
    for source in sources[:DISPLAYED_SOURCES]:
        rng = np.random.default_rng(7)
        drawn = (source.pairs.draw(rng) for _ in range(40))
        pair = next((sample for sample in drawn if len(sample.xy0) >= 4), None)
        if pair is not None:
            found.append((source.name, pair))
    return found


@dataclass
class _Stop:
    """Whether a signal to stop came, and which; SIGINT where it came to another process of the group."""

    came: bool = False
    number: int = signal.SIGINT


@contextmanager
def _stop_signal() -> Iterator[_Stop]:
    """Record Ctrl-C and SIGTERM, so that the current step is finished; a second one ends it at once.

    Raises:
        StoppedError: If the processes that prepare pairs were ended as well, as by what ends a whole job.
    """
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def show_status(number: int, frame: Any) -> None:
        if stop.came:
            raise KeyboardInterrupt
        stop.came, stop.number = True, number

    before = {s: signal.signal(s, show_status) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except RuntimeError as error:
        if not stop.came or "DataLoader worker" not in str(error):
            raise
        # It comes in the middle of a step, which must not be kept half done. PyTorch has no type of its own for it.
        raise StoppedError("stopped; repeat the command to go on after the last checkpoint", stop.number) from error
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
