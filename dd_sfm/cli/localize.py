"""dd-sfm localize."""

from pathlib import Path
from typing import Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_outside_runs
from dd_sfm.errors import OutputError

KnownRun = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the finished run.", show_default=False)]
OutFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)]


@expand_options
def localize(
    *,
    run: KnownRun,
    sources: o.Sources,
    out: OutFolder,
    options: o.FrameOptions,
    weights: o.Weights = None,
    configuration: o.ConfigOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier localization wrote there.")
    ] = False,
    messages: o.MessageOptions,
) -> None:
    """Place the frames of another video in the model of a finished run.

    The frames are described as those of the run were, and its points are found in them; they may be of another scope.
    A frame whose place is not sure gets none, and it says why. RUN stays as it is.

    Example: dd-sfm localize runs/nose later.mp4 -o runs/later --calibration 666.2,666.2,919.5,542.1

    Writes OUT/trajectory.csv and trajectory.tum in the coordinates of RUN, OUT/sparse/0 (the points of RUN with the new
    images; opens in COLMAP), the frames, and OUT/metrics.json. dd-sfm view, overlay and convert take OUT as a run.
    """
    from dd_sfm import api
    from dd_sfm.io.run_layout import is_run
    from dd_sfm.pipeline.localize import config_of_run

    if is_run(out):
        raise OutputError(f"{out}: is the folder of a run; expected a folder of its own. Choose another with -o")
    check_outside_runs(out)
    settings = o.resolve_config(
        configuration, {**options.settings(), "describe.weights": weights}, base=config_of_run(run)
    )
    say = make_say(messages.quiet)
    found = api.localize(
        run, sources, out, settings, calibration=options.calibration, mask=options.mask, overwrite=overwrite,
        progress=make_progress(messages.quiet), on_stage=say,
    )  # fmt: skip
    metrics = found.metrics
    for note in metrics["degradations"]:
        say(f"note: {note}")
    posed = metrics["frames_posed"] - metrics["frames_registered"]
    more = f" and {posed} between them" if posed else ""
    sure = metrics["pose_confidence_median"]
    say(
        f"{metrics['frames_registered']} of {metrics['frames_used']} frames placed{more}, confidence {sure:.2f} in the "
        f"median; written: {out / 'trajectory.csv'}, trajectory.tum, sparse/0, metrics.json"
    )
