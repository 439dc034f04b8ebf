"""Fine-tuning on a user's own run: a few hundred small steps, kept only if held-out frames match better."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from dd_sfm.errors import InputError
from dd_sfm.features.weights import load_weights, save_weights
from dd_sfm.io.atomic import write_json
from dd_sfm.progress import Progress
from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.loop import ShowStatus, TrainRequest, train, validate
from dd_sfm.training.output import ADAPTATION, LAST, WEIGHTS, check_output, check_same_run
from dd_sfm.training.sources.open_sources import open_source
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.sources.structure import read_structure
from dd_sfm.training.validation import Validation

logger = logging.getLogger(__name__)

MIN_FRAMES = 20
HELD_OUT, MARGIN = 0.2, 0.06
"""Shares of the frames: the last ones, and the margin between them and the ones trained on."""
MEASURED_PAIRS = 12


@dataclass(frozen=True)
class Split:
    """Positions (first, last) of the frames that are trained on, and of those held out."""

    training: tuple[int, int]
    held_out: tuple[int, int]


@dataclass(frozen=True)
class Adaptation:
    """Accuracy on the held-out frames before and after; ``weights`` are the better ones."""

    weights: Path
    split: Split
    before: Validation
    after: Validation

    @property
    def is_better(self) -> bool:
        """Whether the adapted weights were kept."""
        return self.after.overall.score > self.before.overall.score


def split_frames(count: int, where: Path) -> Split:
    """The last fifth of the frames is held out, with a margin of frames that are not used at all.

    Raises:
        InputError: If there are too few frames.
    """
    if count < MIN_FRAMES:
        raise InputError(f"--adapt {where}: {count} frames with a pose; expected at least {MIN_FRAMES}")
    held = max(6, round(HELD_OUT * count))
    margin = max(3, round(MARGIN * count))
    return Split((0, count - held - margin - 1), (count - held, count - 1))


def adapt(
    run: Path,
    request: TrainRequest,
    network: nn.Module,
    progress: Progress,
    *,
    group: ProcessGroup | None = None,
    show_status: ShowStatus | None = None,
) -> Adaptation:
    """Fine-tune a network on a run, and keep what matches its held-out frames better.

    No step is chosen by the held-out frames: the last weights are measured, once.

    Args:
        run: A run folder, COLMAP model with images or JHU sequence.
        request: Further data, the recipe and the output folder; ``start`` and ``validation`` are set here.
        network: The weights to start from, and to keep if nothing gets better.
        progress: Shows the steps.
        group: The processes that train together.
        show_status: Shows the loss.

    Raises:
        InputError: If the run has too few frames; and what :func:`dd_sfm.training.loop.train` raises.
    """
    group = group or ProcessGroup()
    check_output(request.out, overwrite=request.overwrite)
    positions = read_structure(run).positions
    split = split_frames(len(positions), run)
    trained_on, held_out = (
        DataPath(run, int(positions[first]), int(positions[last])) for first, last in (split.training, split.held_out)
    )
    if not request.overwrite:
        check_same_run(request.out, trained_on)
    source = open_source(held_out, request.config, request.find_field_of_view)
    logger.info("%d frames: %d to %d learned from, %d to %d held out", len(positions), *split.training, *split.held_out)
    logger.info("measuring the weights as they are")
    before = validate(network.to(request.device), source, request.device, MEASURED_PAIRS)
    logger.info("before: %s", summary(before))
    fine_tuning = replace(request, data=(trained_on, *request.data), start=network, evaluated_later=(source,))
    trained = _trained(fine_tuning, progress, group, show_status)
    after = validate(trained, source, request.device, MEASURED_PAIRS)
    result = Adaptation(request.out / WEIGHTS, split, before, after)
    if group.is_main:
        if not result.is_better:
            config = request.config
            record = {"training": json.dumps({"data": list(request.initial_sources)})}
            save_weights(result.weights, network, config.architecture, config.network_options(), extra=record)
        write_json(request.out / ADAPTATION, _as_json(run, result))
    group.wait()
    return result


def _trained(
    request: TrainRequest, progress: Progress, group: ProcessGroup, show_status: ShowStatus | None
) -> nn.Module:
    train(request, progress, group=group, show_status=show_status)
    return load_weights(str(request.out / LAST), request.device)


def summary(result: Validation) -> str:
    """Accuracy as a line of text."""
    accuracy = result.overall
    shares = ", ".join(
        f"{100 * p:.1f} % within {t:g} px" for t, p in zip(accuracy.thresholds_px, accuracy.pck, strict=True)
    )
    return f"{shares} (working pixels, {accuracy.points} points)"


def table(adaptation: Adaptation) -> Sequence[tuple[str, ...]]:
    """Rows of a table: gap, then accuracy before and after for each threshold, in percent."""
    before, after = adaptation.before, adaptation.after
    rows = [(f"gap {gap}", before.by_gap[gap], after.by_gap[gap]) for gap in before.by_gap if gap in after.by_gap]
    rows.append(("all", before.overall, after.overall))
    return [
        (name, *(f"{100 * b:.1f} -> {100 * a:.1f}" for b, a in zip(old.pck, new.pck, strict=True)))
        for name, old, new in rows
    ]


def _as_json(run: Path, result: Adaptation) -> dict[str, Any]:
    return {
        "made_by": "dd-sfm train --adapt",
        "run": str(run),
        "frames_learned_from": list(result.split.training),
        "frames_held_out": list(result.split.held_out),
        "kept": "adapted" if result.is_better else "the weights it began with: the adapted ones were no better",
        "before": result.before.as_json(),
        "after": result.after.as_json(),
    }
