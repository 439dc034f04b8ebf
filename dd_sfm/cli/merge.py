"""dd-sfm merge."""

from pathlib import Path
from typing import Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say, summary
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_outside_runs
from dd_sfm.errors import OutputError


@expand_options
def merge(
    *,
    first: Annotated[
        Path, typer.Argument(metavar="RUN1", help="Finished run, whose coordinates the result has.", show_default=False)
    ],
    second: Annotated[
        Path, typer.Argument(metavar="RUN2", help="Finished run that shares tissue with it.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    configuration: o.ConfigOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier merge wrote there.")] = False,
    messages: o.MessageOptions,
) -> None:
    """Join two finished runs that share tissue into a new one.

    Frames of both are matched with each other, which tells scale, rotation and translation; then poses are adjusted
    together and points searched in all frames. The settings are those of RUN1. Both runs stay as they are.

    Example: dd-sfm merge runs/nose runs/later -o runs/both

    Writes OUT as a run: points.ply, sparse/0, frames of both, report.html, metrics.json with what joins the runs.
    """
    from dd_sfm import api
    from dd_sfm.io.run_layout import is_run
    from dd_sfm.pipeline.merge import config_of_first

    if is_run(out):
        raise OutputError(f"{out}: is the folder of a run; expected a folder of its own. Choose another with -o")
    check_outside_runs(out)
    settings = o.resolve_config(configuration, {}, base=config_of_first(first))
    say = make_say(messages.quiet)
    found = api.merge(
        first, second, out, settings, overwrite=overwrite, progress=make_progress(messages.quiet), on_stage=say
    )
    if has_tables(messages.quiet):
        summary(found.metrics, str(out))
    joined = found.metrics["joined"]
    say(
        f"joined by {joined['matches']:,} matches: scale {joined['scale']:.5g} +- {100 * joined['scale_error']:.1f} %; "
        f"written: {out / 'points.ply'}, sparse/0, report.html, metrics.json"
    )
