"""dd-sfm evaluate model, and dd-sfm evaluate matching."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.show import evaluation_table, make_say

if TYPE_CHECKING:
    from dd_sfm.evaluation.model import Evaluation

evaluate = typer.Typer(no_args_is_help=True, help="Measure matching or a model against a reference.")


@evaluate.command()
def model(
    run: Annotated[Path, typer.Argument(help="Run folder or COLMAP model folder.", show_default=False)],
    reference: Annotated[
        Path,
        typer.Option(
            "--reference", help="Rendered clip (truth.npz), JHU sequence, COLMAP model or run.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; RUN itself when left out.")
    ] = None,
    best: Annotated[
        str, typer.Option(help="Numbers of best points to measure on their own, by their expected error.")
    ] = "1000,5000,20000",
    gaps: Annotated[str, typer.Option(help="Frame gaps of relative pose errors.")] = "1,4,12,30",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an evaluation.json that this command did not write.")
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure the poses and points of a model against the truth or a reference model.

    The model is aligned by its cameras; every observation with true depth is then compared with its true place.

    Example: dd-sfm evaluate model runs/demo --reference demo_videos/sinus

    Writes evaluation.json, and into evaluation/: cloud.png, trajectory.png, errors.png, trajectory.tum.
    """
    from dd_sfm.evaluation.model import evaluate_model

    counts, distances = o.numbers("--best", best), o.numbers("--gaps", gaps)
    target = out or run
    if out is not None or run.is_dir():
        _check_target(target / "evaluation.json", overwrite)
    evaluation = evaluate_model(run, reference, best=counts, gaps=distances)
    _write(target, evaluation)
    if not quiet:
        evaluation_table(evaluation.figures)
    make_say(quiet)(f"written: {target / 'evaluation.json'}, {target / 'evaluation'}")


def _check_target(path: Path, overwrite: bool) -> None:
    from dd_sfm.errors import OutputError
    from dd_sfm.evaluation.model import MADE_BY

    if overwrite or not path.exists():
        return
    try:
        ours = json.loads(path.read_text()).get("made_by") == MADE_BY
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise OutputError(f"{path}: exists and is not from {MADE_BY}; choose another folder with -o, or --overwrite")


def _write(target: Path, evaluation: "Evaluation") -> None:
    from dd_sfm.evaluation.trajectory import tum_text
    from dd_sfm.io.atomic import output_error, write_json, write_text
    from dd_sfm.viz.figures import write_figures

    folder = target / "evaluation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    path = evaluation.trajectory
    write_figures(folder, evaluation)
    for name, poses in (("trajectory.tum", path.estimate), ("reference.tum", path.reference)):
        write_text(folder / name, tum_text(path.frames.tolist(), poses, evaluation.time_s))
    write_json(target / "evaluation.json", _rounded(evaluation.figures))


def _rounded(value: Any) -> Any:
    """Floats at six significant digits: beyond that they say nothing."""
    if isinstance(value, dict):
        return {k: v if k == "alignment" else _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
