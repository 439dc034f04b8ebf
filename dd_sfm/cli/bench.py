"""dd-sfm bench."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.errors import UsageError

if TYPE_CHECKING:
    import torch

    from dd_sfm.config import RuntimeConfig


@expand_options
def bench(
    *,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Finished runs: nothing is measured, but told where their time went.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", "--json", help="JSON file to write; with runs also a .png.", show_default=False),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Parts to measure: matrix, gather, disk, describe, match, align, depth, planes, adjust, render, "
            "compile.",
            show_default="all",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter turns, nothing compiled: a first look.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="all that this process may use")
    ] = None,
    device: o.Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    messages: o.MessageOptionsBesideFile,
) -> None:
    """Measure this machine's limits, and what the stages of a run make of them; about a minute on two cores.

    Limits are large matrix products, interpolated reads of an image (gather), and the disk: that of the JSON file, or
    of temporary files. Every row has turns in several rounds, and its median and its share of the limit are shown. The
    scene is made up. docs/benchmark.md says what each row means.

    With runs: seconds of their stages, the exponent of the number of frames, and a picture with -o FILE.png.

    Example: dd-sfm bench -o bench.json
    """
    if out is not None:
        check_output_file(out, (".json", ".png") if runs else (".json",), overwrite=overwrite)
    if runs:
        _tell_runs(runs, out, messages.quiet)
        return
    _measure(out, only, quick, o.given_options({"device": device, "threads": threads}), messages.quiet)


def _measure(out: Path | None, only: str | None, quick: bool, options: dict[str, tuple[str, Any]], quiet: bool) -> None:
    from dd_sfm.benchmark.report import benchmark_json, table
    from dd_sfm.benchmark.stages import PARTS, QUICK, BenchmarkSettings, run_benchmark
    from dd_sfm.config import Config, RuntimeConfig, load_config
    from dd_sfm.io.atomic import write_json
    from dd_sfm.runtime import cpu_threads

    runtime = load_config(RuntimeConfig, options=options)
    parts = _parts(only, PARTS)
    settings, count = QUICK if quick else BenchmarkSettings(), cpu_threads(runtime)
    found = run_benchmark(
        Config(),
        _devices(runtime),
        settings,
        threads=count,
        disk=None if out is None else out.parent,
        parts=parts if only or not quick else parts - {"compile"},
        progress=make_progress(quiet),
    )
    if has_tables(quiet):
        print("\n".join(table(found)))
    if out is not None:
        write_json(out, benchmark_json(found, settings, count))
        make_say(quiet)(f"written: {out}")


def _parts(only: str | None, known: tuple[str, ...]) -> set[str]:
    """The parts that ``--only`` names, separated by commas or spaces."""
    if only is None:
        return set(known)
    names = only.replace(",", " ").split()
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"expected some of {', '.join(known)}"
            raise UsageError(f"--only {only}: no part is called '{name}'; {hint}")
    if not names:
        raise UsageError(f"--only '{only}': names no part; expected some of {', '.join(known)}")
    return set(names)


def _devices(runtime: "RuntimeConfig") -> "tuple[torch.device, ...]":
    """Where is measured: the CPU and, where there is one, the GPU; or the one that is asked for."""
    import torch

    from dd_sfm.runtime import resolve_device

    found = resolve_device(runtime)
    if runtime.device != "auto" or found.type == "cpu":
        return (found,)
    return (torch.device("cpu"), found)


def _tell_runs(runs: list[Path], out: Path | None, quiet: bool) -> None:
    from dd_sfm.benchmark.run_times import read_run_times, run_times_json, run_times_table
    from dd_sfm.io.atomic import write_json
    from dd_sfm.viz.render.evaluation_plots import write_figure
    from dd_sfm.viz.render.stage_times import stage_times_figure

    found = read_run_times(runs)
    if has_tables(quiet):
        print("\n".join(run_times_table(found)))
    if out is None:
        return
    if out.suffix.lower() == ".png":
        write_figure(out, stage_times_figure(found))
    else:
        write_json(out, run_times_json(found))
    make_say(quiet)(f"written: {out}")
