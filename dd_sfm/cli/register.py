"""dd-sfm register."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from dd_sfm.cli import options as o
from dd_sfm.cli.console import console, has_tables, make_progress, make_say, print_warnings
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_outside_runs
from dd_sfm.errors import OutputError, UsageError
from dd_sfm.registration.known_scale import OPEN, check_unit, factor_in, known_scale

if TYPE_CHECKING:
    from dd_sfm.io.metric import MetricScale
    from dd_sfm.registration.register import Registration

MADE_BY, RESULT = "dd-sfm register", "registration.json"


@dataclass(frozen=True)
class StartOptions:
    """What is known of where the cloud lies."""

    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Picked points: rows x,y,z of the cloud, x,y,z of the surface; 3 or more.", show_default=False
        ),
    ] = None
    initial: Annotated[
        Path | None,
        typer.Option(
            help="A transform that is roughly right, from the cloud to the surface: 4x4 text, .json or .tfm.",
            show_default=False,
        ),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="SCALE|open",
            help="The cloud's scale, where it is known: 0.31 (mm a unit) and all else that convert takes; open: it is "
            "found, also of a run with known poses.",
            show_default=False,
        ),
    ] = None
    within: Annotated[str, typer.Option(help="How far off a start may be: length, degrees, factor of the scale.")] = (
        "15,25,1.25"
    )


@expand_options
def register(
    *,
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder, COLMAP model, or PLY file with normals.", show_default=False),
    ],
    surface: Annotated[
        Path,
        typer.Argument(
            metavar="SURFACE", help="Mesh from CT or of a phantom: .stl, .ply, .obj, .vtk, .vtp.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    start: StartOptions,
    unit: Annotated[str, typer.Option(metavar="mm|cm|m", help="Of the surface's coordinates.")] = "mm",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the starts.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier registration wrote there.")
    ] = False,
    messages: o.MessageOptions,
) -> None:
    """Register a cloud to a surface from CT or of a phantom: scale, rotation and translation.

    Starts from --pairs or --initial and others around it, or without them from a search of the whole surface. Says when
    the place cannot be decided, as along a tube.

    Example: dd-sfm register runs/nose ct.stl -o registered

    Writes registration.json, transform.tfm (points of the cloud to the surface), inverse.tfm (what 3D Slicer applies),
    residuals.ply and residuals.png.
    """
    from dd_sfm import api
    from dd_sfm.io.run_layout import is_run
    from dd_sfm.io.staging import check_folder

    if start.pairs is not None and start.initial is not None:
        raise UsageError("--pairs and --initial: both given; expected one start. Leave one out")
    within = _range(start.within)
    if is_run(out):
        raise OutputError(f"{out}: is the folder of a run; expected a folder of its own. Choose another with -o")
    check_outside_runs(out)
    check_folder(out, overwrite=overwrite)
    check_unit(unit)
    say = make_say(messages.quiet)
    metric = _told_scale(start.scale, run, say)
    scale = OPEN if metric is None else factor_in(metric, unit)
    found = api.register(
        run, surface, pairs=start.pairs, initial=start.initial, scale=scale, within=within, unit=unit, seed=seed,
        progress=make_progress(messages.quiet),
    )  # fmt: skip
    content = _write(found, out, run, surface, start, metric, overwrite=overwrite)
    if has_tables(messages.quiet):
        _print(content)
    print_warnings([f"ambiguous: {reason}" for reason in found.reasons] if found.fits else list(found.reasons))
    say(f"written: {out / RESULT}, transform.tfm, inverse.tfm, residuals.ply, residuals.png")


def _told_scale(scale: str | None, run: Path, say: Callable[[str], None]) -> "MetricScale | None":
    """The scale that is kept, told where it is not the one that was typed."""
    metric = known_scale(scale, run)
    for line in () if metric is None else metric.notes:
        say(f"note: {line}")
    if metric is not None and scale is None:
        say(f"note: the run is in {metric.unit} ({metric.origin}), and keeps its scale; --scale open lets it be found")
    return metric


def _range(text: str) -> tuple[float, float, float]:
    """Three positive numbers.

    Raises:
        UsageError: If they are not.
    """
    try:
        shift, turn, growth = (float(part) for part in text.split(","))
    except ValueError:
        shift = turn = growth = float("nan")
    if not (0 < shift < 1e9 and 0 < turn <= 180 and 1 <= growth <= 10):
        raise UsageError(f"--within {text}: expected length,degrees,factor, such as 15,25,1.25 (factor 1 to 10)")
    return shift, turn, growth


def _write(
    found: "Registration",
    out: Path,
    run: Path,
    surface: Path,
    start: StartOptions,
    metric: "MetricScale | None",
    *,
    overwrite: bool,
) -> dict[str, Any]:
    import numpy as np

    from dd_sfm import __version__
    from dd_sfm.io.atomic import json_content, write_text
    from dd_sfm.io.clouds import write_points
    from dd_sfm.io.images import write_image
    from dd_sfm.io.staging import staged_folder
    from dd_sfm.io.transforms import itk_text
    from dd_sfm.registration.figures import figures
    from dd_sfm.registration.register import matrix_of
    from dd_sfm.viz.render.residual_picture import residual_picture, residual_scale

    given = "pairs" if start.pairs else "initial" if start.initial else "search"
    content: dict[str, Any] = {
        "made_by": MADE_BY, "version": __version__, "run": str(run), "surface": str(surface), "start": given,
        "scale_known": metric is not None, "scale_from": metric.origin if metric else None,
        **json_content(figures(found)),
    }  # fmt: skip
    matrix = matrix_of(found.similarity)
    with staged_folder(out, RESULT, content, overwrite=overwrite) as folder:
        write_text(folder / "transform.tfm", itk_text(matrix))
        write_text(folder / "inverse.tfm", itk_text(np.linalg.inv(matrix)))
        comments = [
            f"made by {MADE_BY}",
            f"unit: {found.unit}",
            f"scale: {found.similarity.scale:.9g} by {surface.name}",
        ]
        colours = residual_scale(found).rgb(found.residual)
        write_points(folder / "residuals.ply", found.xyz, colours, {"residual": found.residual}, comments=comments)
        write_image(folder / "residuals.png", residual_picture(found))
    return content


def _print(content: dict[str, Any]) -> None:
    unit = content["unit"]
    table = Table(title="distance from the surface", title_justify="left")
    for name in ("region", "points", f"median, {unit}", f"90 % below, {unit}"):
        table.add_column(name, justify="left" if name == "region" else "right")
    for row in [*content["regions"], {"region": "all", **content}]:
        table.add_row(
            row["region"], f"{row['points']:,}", f"{row['residual_median']:.3g}", f"{row['residual_p90']:.3g}"
        )
    console().print(table)
    near, restarts = content["within"], content["restarts"]
    console().print(
        f"{100 * near['share']:.0f} % within {near['limit']:.2g} {unit}; scale {content['scale']:.6g} {unit} a unit of "
        f"the run; {restarts['ended_here']} of {restarts['starts']} starts ended here"
    )
    worst = content["directions"][0]["words"]
    # What holds the cloud tells nothing where it does not lie on the surface.
    said = {"undecided": "cannot be decided"}.get(content["verdict"], content["verdict"])
    console().print(said + (f"; least certain: {worst}" if content["fits"] else ""))
