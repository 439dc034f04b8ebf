"""dd-sfm compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from dd_sfm.cli import options as o
from dd_sfm.cli.console import console, has_tables, make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.errors import ConfigError, InputError

if TYPE_CHECKING:
    from dd_sfm.evaluation.comparison.result import Comparison


@dataclass(frozen=True, kw_only=True)
class CompareOptions(o.InputOptions):
    """Options of ``compare``: which SIFT runs there are, and what all runs are measured against."""

    seed: o.Seed = None
    sift: Annotated[
        str,
        typer.Option(
            "--sift",
            help="tuned (peak threshold 0.002, first octave 0), or strong (also affine shape and domain size pooling).",
            rich_help_panel=o.RUN,
        ),
    ] = "tuned"
    default_sift: Annotated[
        bool,
        typer.Option(
            "--default-sift/--no-default-sift", help="Also run SIFT with COLMAP's defaults.", rich_help_panel=o.RUN
        ),
    ] = True
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Rendered clip (truth.npz), JHU sequence, COLMAP model or run to measure all runs against.",
            rich_help_panel=o.RUN,
            show_default=False,
        ),
    ] = None


@expand_options
def compare(
    *,
    sources: o.Sources,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the comparison to.", show_default=False)],
    options: CompareOptions,
    configuration: o.ConfigOptions,
    overwrite: o.Overwrite = False,
    messages: o.MessageOptions,
) -> None:
    """Reconstruct a video with the learned descriptor and with SIFT, and report both side by side.

    Frames, masks, camera and mapper are the same. Finished stages are kept: repeat the command to go on after a break.

    Example: dd-sfm compare demo_videos/sinus/clip.mp4 -o runs/both --calibration demo_videos/sinus/calibration.txt
    --reference demo_videos/sinus

    Writes OUT/report.html, OUT/report.json, OUT/figures, and the runs: OUT/learned, OUT/sift, OUT/sift_default.
    """
    sift, quiet = options.sift, messages.quiet
    if sift not in ("tuned", "strong"):
        raise ConfigError(f"--sift {sift}: unknown; expected tuned or strong")
    from dd_sfm import api

    settings = o.resolve_config(configuration, {**options.settings(), "runtime.seed": options.seed}, options.quality)
    say = make_say(quiet)
    comparison = api.compare(
        sources,
        out,
        settings,
        calibration=options.calibration,
        mask=options.mask,
        sift="strong" if sift == "strong" else "tuned",
        default_sift=options.default_sift,
        reference=options.reference,
        overwrite=overwrite,
        progress=make_progress(quiet),
        on_stage=say,
    )
    written = out / "report.html"
    if has_tables(quiet):
        comparison_table(comparison)
    say(f"written: {written}")
    if comparison.figures["warnings"]:
        warning = comparison.figures["warnings"][0]
        raise InputError(f"{warning} (the report is written, without figures against it: {written})")


def comparison_table(comparison: "Comparison") -> None:
    """Print the figures of all runs side by side, the notes, and the verdict."""
    from dd_sfm.evaluation.comparison.table import table_rows

    table = Table(show_header=True, title_justify="left")
    table.add_column("")
    for column in comparison.columns:
        table.add_column(Text(column.label), justify="right")
    group = ""
    for row in table_rows(comparison):
        if row.group != group:
            table.add_section()
            table.add_row(Text(row.group, style="bold"))
            group = row.group
        cells = [Text(cell, style="green" if row.better == k else "") for k, cell in enumerate(row.cells)]
        table.add_row(Text(row.label), *cells)
    screen = console()
    screen.print(table)
    for column in comparison.columns:
        if column.failure:
            screen.print(Text(f"{column.label}: no model. {column.failure}"))
    for note in (*comparison.run_notes, *comparison.figures["notes"]):
        screen.print(Text(f"note: {note}"))
    screen.print(Text(comparison.figures["verdict"], style="bold"))
