"""dd-sfm train."""

from pathlib import Path
from typing import Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.show import make_progress, make_say


def train(
    data: Annotated[
        list[str],
        typer.Argument(help="JHU sequences or rendered clips: FOLDER or FOLDER:FIRST-LAST.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights and checkpoint.", show_default=False)],
    validation: Annotated[
        list[str] | None, typer.Option("--validation", help="A sequence to measure on; repeat for more.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, one pair each.")] = None,
    seed: o.Seed = None,
    config: o.ConfigFile = None,
    overrides: o.Overrides = None,
    device: o.Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", rich_help_panel=o.GENERAL)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of going on.", rich_help_panel=o.GENERAL)
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train a dense descriptor on sequences with known geometry.

    Repeating the command goes on after the last checkpoint.

    Example: dd-sfm train seq/a seq/b:0-94 --validation seq/b:110-189 -o runs/train --steps 10000
    """
    import logging

    import torch

    from dd_sfm.config import RuntimeConfig, load_config
    from dd_sfm.runtime import cpu_threads, resolve_device
    from dd_sfm.training.sources import DataPath
    from dd_sfm.training.trainer import CHECKPOINT, TrainConfig
    from dd_sfm.training.trainer import train as run_training

    flags = {"steps": steps, "seed": seed}
    given = [f"{key}={value}" for key, value in flags.items() if value is not None]
    settings = load_config(TrainConfig, o.find_config(config) if config else None, [*(overrides or []), *given])
    runtime = load_config(RuntimeConfig, None, [f"device={device or 'auto'}", f"threads={threads or 'null'}"])
    torch.set_num_threads(cpu_threads(runtime))
    if overwrite:
        for name in (CHECKPOINT, "history.jsonl", "weights.safetensors"):
            (out / name).unlink(missing_ok=True)
    if not quiet:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = run_training(
        [DataPath.parse(d) for d in data],
        [DataPath.parse(v) for v in validation or []],
        out,
        settings,
        resolve_device(runtime),
        make_progress(quiet),
    )
    make_say(quiet)(f"weights: {path}")
