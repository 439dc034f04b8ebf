"""dd-sfm evaluate model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_say, print_warnings
from dd_sfm.cli.evaluation_files import check_made_by, made_by_another, write_rounded_json
from dd_sfm.cli.evaluation_tables import evaluation_table
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.errors import ConfigError

if TYPE_CHECKING:
    from dd_sfm.evaluation.model.evaluate import Evaluation


@expand_options
def model(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or COLMAP model folder.", show_default=False)],
    reference: Annotated[
        Path,
        typer.Option(
            "--reference",
            help="Rendered clip (truth.npz), JHU sequence, COLMAP model, run, or TUM file of poses (FILE@mm).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; the run, or the model's folder, when left out."),
    ] = None,
    best: Annotated[
        str, typer.Option(help="Numbers of best points to measure on their own, by their expected error.")
    ] = "1000,5000,20000",
    gaps: Annotated[str, typer.Option(help="Frame gaps of relative pose errors.")] = "1,4,12,30",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that this command did not write.")
    ] = False,
    messages: o.MessageOptions,
) -> None:
    """Measure the poses and points of a model against the truth or a reference model.

    The model is aligned by its cameras; every observation with true depth is then compared with its true place. A
    reference that seems to be of another video is named in a warning; the exit code stays 0.

    Example: dd-sfm evaluate model runs/demo --reference demo_videos/sinus

    Writes evaluation.json, and into evaluation/: cloud.png, trajectory.png, errors.png, trajectory.tum (the aligned
    cameras), reference.tum (those of the reference).
    """
    from dd_sfm import api
    from dd_sfm.evaluation.model.evaluate import MADE_BY
    from dd_sfm.io.run_layout import locked_if_run

    counts, distances = o.parse_integers("--best", best), o.parse_integers("--gaps", gaps)
    target, say = out or _default_folder(run), make_say(messages.quiet)
    with locked_if_run(target):
        if out is not None or target.is_dir():
            check_made_by(target / "evaluation.json", MADE_BY, overwrite)
            _check_figures(target, MADE_BY, overwrite)
        evaluation = api.evaluate_model(run, reference, best=counts, gaps=distances)
        replaced = _replaced_reference(target, reference)
        _write(target, evaluation)
    if has_tables(messages.quiet):
        evaluation_table(evaluation.figures)
    if messages.quiet or not sys.stdout.isatty():
        # Otherwise the table shows them, on the same terminal.
        print_warnings(evaluation.figures["warnings"])
    if replaced:
        say(f"replaced: the evaluation against {replaced}; -o FOLDER keeps one of each")
    say(f"written: {target / 'evaluation.json'}, {target / 'evaluation'}")


def _default_folder(model: Path) -> Path:
    """The folder that an evaluation is written to by default: that of the model's run, or of a model outside runs.

    Raises:
        ConfigError: If the model is not the first of its run: the figures kept there are those of the first.
    """
    from dd_sfm.io.scene import find_model_folder, run_around

    folder = find_model_folder(model)
    run = run_around(model, folder) if folder else None
    if folder is None or run is None:
        return model
    if folder.resolve() != (run / "sparse" / "0").resolve():
        raise ConfigError(
            f"{model}: not the first model of {run}, where the evaluation of the first is kept; expected another "
            "folder. Choose one with -o"
        )
    return run


def _check_figures(target: Path, made_by: str, overwrite: bool) -> None:
    """Check that figures may be replaced: they are this command's where its evaluation.json is beside their folder.

    Raises:
        OutputError: If they are not, and ``overwrite`` is not set; or if their folder is a link.
    """
    from dd_sfm.io.links import check_no_links
    from dd_sfm.io.run_layout import EVALUATION

    check_no_links(target, ["evaluation"])
    if overwrite or (target / "evaluation.json").exists():
        return
    for path in (target / "evaluation" / name for name in EVALUATION):
        if path.exists():
            raise made_by_another(path, made_by)


def _replaced_reference(target: Path, reference: Path) -> str:
    """The reference of the evaluation that is replaced, if it is another one; "" otherwise."""
    from dd_sfm.io.run_layout import read_evaluation

    before = read_evaluation(target).get("reference")
    return str(before) if before and Path(before).resolve() != reference.resolve() else ""


def _write(target: Path, evaluation: "Evaluation") -> None:
    from dd_sfm.io.atomic import make_folder, write_text
    from dd_sfm.io.tum import tum_text
    from dd_sfm.viz.render.evaluation_plots import write_figures

    folder = target / "evaluation"
    make_folder(folder)
    path = evaluation.trajectory
    # Written first: if this command is interrupted, the next one recognises the figures by it as replaceable.
    write_rounded_json(target / "evaluation.json", evaluation.figures)
    write_figures(folder, evaluation)
    for name, poses in (("trajectory.tum", path.estimate), ("reference.tum", path.reference)):
        write_text(folder / name, tum_text(path.frames.tolist(), poses, evaluation.time_s))
