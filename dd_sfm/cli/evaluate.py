"""dd-sfm evaluate: model, matching and realism."""

import typer

from dd_sfm.cli.evaluate_matching import matching
from dd_sfm.cli.evaluate_model import model
from dd_sfm.cli.evaluate_realism import realism

evaluate = typer.Typer(
    no_args_is_help=True, help="Measure a model or matching against a reference, or rendered clips against real ones."
)
evaluate.command()(model)
evaluate.command()(matching)
evaluate.command()(realism)
