"""dd-sfm train."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.show import NotedBar, make_progress, make_say, show_log
from dd_sfm.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import nn

    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.distributed import Group
    from dd_sfm.training.loop import TrainRequest
    from dd_sfm.training.sources.spec import DataPath

TRAINING = "Training"


def train(
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights and checkpoint.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="PATH[:FIRST-LAST][@WEIGHT]: JHU sequences, COLMAP models with images, run folders, rendered clips, "
            "videos, images, folders of these, or synth:ORGAN[:SEED[+]].",
            show_default=False,
        ),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            "--validation", help="A source to measure on, written alike; repeat for more.", show_default=False
        ),
    ] = None,
    data_file: Annotated[
        Path | None, typer.Option("--data", help="YAML file with the lists train and validation.", show_default=False)
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from shipped weights by name, or a file.", rich_help_panel=TRAINING)
    ] = None,
    adapt: Annotated[
        Path | None,
        typer.Option(help="Fit weights (--init, else the shipped ones) to this run.", rich_help_panel=TRAINING),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.", rich_help_panel=TRAINING)] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Pairs a step and process.", rich_help_panel=TRAINING)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Stop after so many validations without a better one.", rich_help_panel=TRAINING),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep prepared sources here for the next time.", rich_help_panel=TRAINING)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare pairs.", rich_help_panel=TRAINING)
    ] = None,
    show_network: Annotated[
        bool, typer.Option("--show-network", help="Print the network's layers.", rich_help_panel=TRAINING)
    ] = False,
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
    """Train a dense descriptor, or fit the shipped one to your own videos.

    Repeating the command goes on after the last checkpoint. Ctrl-C writes one.

    Example: dd-sfm train seq/a seq/b:0-94 synth:colon --validation seq/b:110-189 -o runs/train --steps 10000

    Example: dd-sfm train --adapt runs/nose -o weights/nose; dd-sfm reconstruct nose2.mp4 -o runs/nose2 --weights
    weights/nose

    Writes OUT/weights.safetensors (the best by validation), last.safetensors, checkpoint.pt, history.jsonl,
    training.yaml, display/ and tensorboard/ (tensorboard --logdir OUT).
    """
    flags = {
        "steps": steps, "batch": batch, "patience": patience, "cache": cache, "workers": workers, "seed": seed,
    }  # fmt: skip
    training, held_out = _data(data, validation, data_file, adapt)
    settings, start, start_sources = _settings(config, overrides or [], o.given(flags), init, adapt)
    if show_network:
        print(_network(settings))
    _run(
        settings, start, start_sources, training, held_out, adapt, out,
        device=device, threads=threads, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip


def _data(
    data: list[str] | None, validation: list[str] | None, file: Path | None, adapt: Path | None
) -> "tuple[list[DataPath], list[DataPath]]":
    """Sources to train and to validate on."""
    from dd_sfm.training.sources.spec import DataPath, read_data_file

    training, held_out = read_data_file(file) if file else ([], [])
    training += [DataPath.parse(d) for d in data or []]
    held_out += [DataPath.parse(v) for v in validation or []]
    if not training and adapt is None:
        raise ConfigError("nothing to train on: expected DATA, --data FILE.yaml or --adapt RUN")
    if adapt is not None and held_out:
        raise ConfigError("--adapt: holds out the last frames of the run itself; leave out --validation")
    return training, held_out


def _settings(
    config: str | None,
    overrides: list[str],
    given: dict[str, tuple[str, Any]],
    init: str | None,
    adapt: Path | None,
) -> "tuple[TrainConfig, nn.Module | None, list[str]]":
    """The recipe, the network to start from, and what that was trained on."""
    import torch

    from dd_sfm.config import DescribeConfig, load_config
    from dd_sfm.features.weights import load_weights, read_architecture, read_training_sources
    from dd_sfm.training.checkpoint import network_name
    from dd_sfm.training.config import ADAPT, TrainConfig, check_config

    path = _recipe(config) if config else None
    settings = load_config(TrainConfig, path, overrides, base=None if adapt is None else ADAPT, options=given)
    name = init or (DescribeConfig().weights if adapt is not None else None)
    if name is None:
        check_config(settings)
        return settings, None, []
    architecture, options = read_architecture(name)
    asked = (settings.architecture, settings.network_options())
    if asked not in ((architecture, options), (TrainConfig().architecture, {})) or set(options) - {"dim", "growth"}:
        chosen = f"--init {name}" if init else f"--adapt, from the shipped {name}"
        raise WeightsError(
            f"{chosen}: weights of {network_name(architecture, options)}; the settings ask for {network_name(*asked)}. "
            f"Set the same, or {'leave out --init' if adapt is None else 'choose others with --init'}"
        )
    settings = replace(
        settings,
        architecture=architecture,  # type: ignore[arg-type]
        descriptor_dim=options.get("dim"),
        growth=options.get("growth"),
    )
    check_config(settings)
    return settings, load_weights(name, torch.device("cpu")), read_training_sources(name)


def _recipe(name: str) -> Path:
    """The YAML file of a recipe; the other shipped configurations are told from recipes by their names."""
    from dd_sfm.resources import configs_folder

    path = o.find_config(name)
    recipes = sorted(p.stem for p in configs_folder().glob("train-*.yaml"))
    if path.parent == configs_folder() and path.stem not in recipes:
        raise ConfigError(
            f"--config {name}: settings of a reconstruction; expected {', '.join(recipes)} or a YAML file"
        )
    return path


def _run(
    settings: "TrainConfig",
    start: "nn.Module | None",
    start_sources: list[str],
    training: "list[DataPath]",
    held_out: "list[DataPath]",
    adapt: Path | None,
    out: Path,
    *,
    device: str | None,
    threads: int | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Join the other processes, render what is to be rendered, and train."""
    import torch

    from dd_sfm.config import RuntimeConfig, load_config
    from dd_sfm.pipeline.masks import find_field_of_view
    from dd_sfm.runtime import cpu_threads, resolve_device
    from dd_sfm.training.distributed import local_device, process_group
    from dd_sfm.training.guard import check_scenes
    from dd_sfm.training.loop import TrainRequest

    runtime = load_config(RuntimeConfig, options=o.given({"device": device, "threads": threads}))
    torch.set_num_threads(cpu_threads(runtime))
    on = local_device(resolve_device(runtime))
    with process_group(on) as group:
        quiet = quiet or not group.leads
        check_scenes(training, held_out)
        training, held_out = (_render(d, settings, group, quiet) for d in (training, held_out))
        request = TrainRequest(
            tuple(training), tuple(held_out), out, settings, on, find_field_of_view, start, tuple(start_sources),
            overwrite=overwrite,
        )  # fmt: skip
        with show_log(quiet):
            _train(request, adapt, group, quiet)


def _train(request: "TrainRequest", adapt: Path | None, group: "Group", quiet: bool) -> None:
    say = make_say(quiet)
    bar = NotedBar(quiet)
    if adapt is None:
        from dd_sfm.training.loop import train as run_training

        result = run_training(request, bar, group=group, note=bar.note)
        say(f"weights: {result.weights}")
        return
    from dd_sfm.training.adapt import adapt as run_adaptation
    from dd_sfm.training.adapt import summary

    assert request.start is not None
    adapted = run_adaptation(adapt, request, request.start, bar, group=group, note=bar.note)
    first, last = adapted.split.held_out
    if not quiet:
        _adaptation_table(adapted)
    say(f"held-out frames {first} to {last}, before: {summary(adapted.before)}")
    say(f"held-out frames {first} to {last}, after: {summary(adapted.after)}")
    if adapted.is_better:
        say(f"weights: {adapted.weights}; use them with --weights {request.out}")
    else:
        say(f"the adapted weights are no better: the old ones are kept in {adapted.weights}")


def _adaptation_table(adapted: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dd_sfm.training.adapt import table

    limits = adapted.before.overall.thresholds_px
    shown = Table(title="Points found, in percent, before -> after", title_justify="left")
    shown.add_column("held out")
    for limit in limits:
        shown.add_column(f"within {limit:g} px", justify="right")
    for row in table(adapted):
        shown.add_row(*map(Text, row))
    Console(stderr=True).print(shown)


def _render(data: "list[DataPath]", settings: "TrainConfig", group: "Group", quiet: bool) -> "list[DataPath]":
    """The same sources; scenes to render are clips on disk, made before training starts."""
    from dd_sfm.cli.rendered import SceneSeries, render_scene
    from dd_sfm.training.sources.spec import DataPath, rendered_scenes

    found: list[DataPath] = []
    for entry in data:
        scenes = rendered_scenes(entry)
        if not scenes:
            found.append(entry)
        for scene in scenes:
            folder = render_scene(scene, settings, make_progress(quiet), make_say(quiet), write=group.leads)
            path = DataPath(folder, weight=scene.weight, part=scene.part)
            if scene.is_endless:
                path = replace(path, series=SceneSeries(scene, settings), series_name=str(entry.path))
            found.append(path)
    group.wait()
    return found


def _network(settings: "TrainConfig") -> str:
    from dd_sfm.features.networks import build_network

    network = build_network(settings.architecture, **settings.network_options())
    count = sum(p.numel() for p in network.parameters())
    return f"{network}\n{count / 1e6:.2f} M parameters"
