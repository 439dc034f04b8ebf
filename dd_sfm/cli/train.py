"""dd-sfm train."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say, show_log
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.reporter import Status
from dd_sfm.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import nn

    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.distributed import ProcessGroup
    from dd_sfm.training.loop import TrainRequest
    from dd_sfm.training.sources.spec import DataPath

TRAINING = "Training"


@dataclass(frozen=True)
class TrainOptions:
    """What is validated on, which weights to start from, and how long to train."""

    validation: Annotated[
        list[str] | None,
        typer.Option(
            "--validation", help="A source to measure on, written alike; repeat for more.", show_default=False
        ),
    ] = None
    data_file: Annotated[
        Path | None, typer.Option("--data", help="YAML file with the lists train and validation.", show_default=False)
    ] = None
    init: Annotated[
        str | None, typer.Option(help="Start from shipped weights by name, or a file.", rich_help_panel=TRAINING)
    ] = None
    adapt: Annotated[
        Path | None,
        typer.Option(help="Fit weights (--init, else the shipped ones) to this run.", rich_help_panel=TRAINING),
    ] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.", rich_help_panel=TRAINING)] = None
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs a step and process.", rich_help_panel=TRAINING)] = None
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Stop after so many validations without a better one.", rich_help_panel=TRAINING),
    ] = None
    cache: Annotated[
        Path | None, typer.Option(help="Keep prepared sources here for the next time.", rich_help_panel=TRAINING)
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare pairs.", rich_help_panel=TRAINING)
    ] = None
    show_network: Annotated[
        bool, typer.Option("--show-network", help="Print the network's layers.", rich_help_panel=TRAINING)
    ] = False

    def settings(self) -> dict[str, Any]:
        """The options that set a key of the training configuration; None where an option was left out."""
        return {name: getattr(self, name) for name in ("steps", "batch", "patience", "cache", "workers")}


@expand_options
def train(
    *,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights and checkpoint.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help="PATH[:FIRST-LAST][@WEIGHT]: JHU sequences, COLMAP models with images, run folders, rendered clips, "
            "videos, images, folders of these, or synth:ORGAN[:SEED[+]].",
            show_default=False,
        ),
    ] = None,
    options: TrainOptions,
    seed: o.Seed = None,
    configuration: o.ConfigOptions,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", rich_help_panel=o.GENERAL)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of going on.", rich_help_panel=o.GENERAL)
    ] = False,
    messages: o.MessageOptions,
) -> None:
    """Train a dense descriptor, or fit the shipped one to your own videos.

    Repeating the command goes on after the last checkpoint. Ctrl-C writes one.

    Example: dd-sfm train seq/a seq/b:0-94 synth:colon --validation seq/b:110-189 -o runs/train --steps 10000

    Example: dd-sfm train --adapt runs/nose -o weights/nose; dd-sfm reconstruct nose2.mp4 -o runs/nose2 --weights
    weights/nose

    Writes OUT/weights.safetensors (the best by validation), last.safetensors, checkpoint.pt, history.jsonl,
    training.yaml, display/ and tensorboard/ (tensorboard --logdir OUT).
    """
    training, validation = _parse_sources(data, options)
    settings, network, trained_on = _settings(options, seed, configuration)
    if options.show_network:
        _show_network(settings, messages.quiet)
    import torch

    from dd_sfm.config import RuntimeConfig, load_config
    from dd_sfm.pipeline.masks import find_field_of_view
    from dd_sfm.runtime import cpu_threads, resolve_device
    from dd_sfm.training.distributed import local_device
    from dd_sfm.training.loop import TrainRequest

    given = o.given_options({"device": configuration.device, "threads": threads})
    runtime = load_config(RuntimeConfig, options=given)
    torch.set_num_threads(cpu_threads(runtime))
    device = local_device(resolve_device(runtime))
    request = TrainRequest(
        tuple(training), tuple(validation), out, settings, device, find_field_of_view, network, tuple(trained_on),
        overwrite=overwrite,
    )  # fmt: skip
    _run(request, options.adapt, messages.quiet)


def _parse_sources(data: list[str] | None, options: TrainOptions) -> "tuple[list[DataPath], list[DataPath]]":
    """Sources to train and to validate on, from the YAML file and the command line.

    Raises:
        ConfigError: If there is nothing to train on, or a source cannot be understood.
    """
    from dd_sfm.training.sources.spec import DataPath, read_data_file

    training, validation = read_data_file(options.data_file) if options.data_file else ([], [])
    training += [DataPath.parse(text) for text in data or []]
    validation += [DataPath.parse(text) for text in options.validation or []]
    if not training and options.adapt is None:
        raise ConfigError("nothing to train on: expected DATA, --data FILE.yaml or --adapt RUN")
    if options.adapt is not None and validation:
        raise ConfigError("--adapt: validates on the last frames of the run; leave out --validation")
    return training, validation


def _settings(
    options: TrainOptions, seed: int | None, configuration: o.ConfigOptions
) -> "tuple[TrainConfig, nn.Module | None, list[str]]":
    """The training configuration, the network to start from, and what that was trained on.

    Raises:
        ConfigError: If a key is unknown or a value cannot be used.
        WeightsError: If the weights cannot be read, or are of another network than the settings ask for.
    """
    import torch

    from dd_sfm.config import DescribeConfig, load_config
    from dd_sfm.features.weights import load_weights, read_architecture, read_training_sources
    from dd_sfm.training.config import ADAPT, TrainConfig, check_config

    adapt, init = options.adapt, options.init
    given = o.given_options({**options.settings(), "seed": seed})
    path = _find_recipe(configuration.config) if configuration.config else None
    base = None if adapt is None else ADAPT
    settings = load_config(TrainConfig, path, configuration.overrides or [], base=base, options=given)
    name = init or (DescribeConfig().weights if adapt is not None else None)
    if name is None:
        check_config(settings)
        return settings, None, []
    architecture, network_options = read_architecture(name)
    _check_same_network(settings, name, architecture, network_options, options)
    settings = replace(
        settings,
        architecture=architecture,  # type: ignore[arg-type]
        descriptor_dim=network_options.get("dim"),
        growth=network_options.get("growth"),
    )
    check_config(settings)
    return settings, load_weights(name, torch.device("cpu")), read_training_sources(name)


def _check_same_network(
    settings: "TrainConfig", weights: str, architecture: str, network_options: dict[str, Any], options: TrainOptions
) -> None:
    """Check that the settings ask for the network of the weights, or leave it open.

    Raises:
        WeightsError: If they ask for another one.
    """
    from dd_sfm.training.checkpoint import network_name
    from dd_sfm.training.config import TrainConfig

    asked = (settings.architecture, settings.network_options())
    is_same = asked in ((architecture, network_options), (TrainConfig().architecture, {}))
    if is_same and not set(network_options) - {"dim", "growth"}:
        return
    chosen = f"--init {weights}" if options.init else f"--adapt, from the shipped {weights}"
    raise WeightsError(
        f"{chosen}: weights of {network_name(architecture, network_options)}; the settings ask for "
        f"{network_name(*asked)}. Set the same, or "
        f"{'leave out --init' if options.adapt is None else 'choose others with --init'}"
    )


def _find_recipe(name: str) -> Path:
    """The YAML file of a training configuration: one of the user's, or a shipped one, called train-....

    Raises:
        ConfigError: If there is none, or it is a shipped configuration of a reconstruction.
    """
    from dd_sfm.resources import configs_folder

    path = o.find_config(name)
    recipes = sorted(p.stem for p in configs_folder().glob("train-*.yaml"))
    if path.parent == configs_folder() and path.stem not in recipes:
        raise ConfigError(
            f"--config {name}: settings of a reconstruction; expected {', '.join(recipes)} or a YAML file"
        )
    return path


def _run(request: "TrainRequest", adapt: Path | None, quiet: bool) -> None:
    """Join the other processes of the training, render the clips that are missing, and train."""
    from dd_sfm.training.distributed import process_group
    from dd_sfm.training.leakage import check_streams

    with process_group(request.device) as group:
        quiet = quiet or not group.is_main
        check_streams(request.data, request.validation)
        training, validation = (
            _render(sources, request, group, quiet) for sources in (request.data, request.validation)
        )
        request = replace(request, data=tuple(training), validation=tuple(validation))
        with show_log(quiet):
            if adapt is None:
                _train(request, group, quiet)
            else:
                _adapt(adapt, request, group, quiet)


def _train(request: "TrainRequest", group: "ProcessGroup", quiet: bool) -> None:
    from dd_sfm.training.loop import train as run_training

    bar = Status(make_progress(quiet))
    result = run_training(request, bar, group=group, show_status=bar.set_status)
    make_say(quiet)(f"weights: {result.weights}")


def _adapt(run: Path, request: "TrainRequest", group: "ProcessGroup", quiet: bool) -> None:
    """Fit weights to a run, and print what the held-out frames say before and after."""
    from dd_sfm.training.adapt import adapt as run_adaptation
    from dd_sfm.training.adapt import summary

    assert request.start is not None
    say, bar = make_say(quiet), Status(make_progress(quiet))
    adapted = run_adaptation(run, request, request.start, bar, group=group, show_status=bar.set_status)
    first, last = adapted.split.held_out
    if has_tables(quiet):
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


def _render(
    data: "tuple[DataPath, ...]", request: "TrainRequest", group: "ProcessGroup", quiet: bool
) -> "list[DataPath]":
    """The sources with each ``synth:`` entry replaced by its clips, which are rendered unless they are there."""
    from dd_sfm.cli.training_clips import StreamRenderer, render_scene
    from dd_sfm.training.sources.spec import DataPath, rendered_scenes

    found: list[DataPath] = []
    for entry in data:
        scenes = rendered_scenes(entry)
        if not scenes:
            found.append(entry)
        for scene in scenes:
            folder = render_scene(scene, request.config, make_progress(quiet), make_say(quiet), write=group.is_main)
            path = DataPath(folder, weight=scene.weight, part=scene.part)
            if scene.is_stream:
                path = replace(path, stream=StreamRenderer(scene, request.config), stream_name=str(entry.path))
            found.append(path)
    group.wait()
    return found


def _show_network(settings: "TrainConfig", quiet: bool) -> None:
    """Print the network's layers and the number of its parameters; in JSON as a message a line."""
    from dd_sfm.features.networks import build_network

    network = build_network(settings.architecture, **settings.network_options())
    count = sum(p.numel() for p in network.parameters())
    text = f"{network}\n{count / 1e6:.2f} M parameters"
    if has_tables(quiet):
        print(text)
        return
    for line in text.splitlines():
        make_say(quiet)(line)
