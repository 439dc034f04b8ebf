"""dd-sfm mesh."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_say
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.errors import InputError, UsageError
from dd_sfm.registration.known_scale import metric_of

if TYPE_CHECKING:
    from dd_sfm.structures import PointCloud


def mesh(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder, COLMAP model, or PLY file with normals.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="PLY file to write.", show_default="RUN/mesh.ply"),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=4, max=13, help="Detail: depth of the octree.", show_default="fits the points' spacing"),
    ] = None,
    trim: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the surface with the fewest points that is left out.")
    ] = 0.02,
    scale: o.Scale = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
    json_lines: o.Json = False,
) -> None:
    """Make a coloured triangle mesh of a cloud: screened Poisson, trimmed to where there are points.

    Example: dd-sfm mesh runs/demo -o demo.ply
    """
    from dd_sfm.io.clouds import MESH_COMMENT, write_mesh
    from dd_sfm.io.run_layout import locked_if_run
    from dd_sfm.mvs.mesh import MeshSettings, mesh_cloud

    if out is None and run.is_file():
        raise UsageError(f"{run}: a file; expected -o FILE.ply, as there is no run folder to write into")
    if out is None and scale is not None:
        raise UsageError(
            "--scale: expected -o FILE.ply with it; RUN/mesh.ply is in the run's own unit, as its points are"
        )
    target = out or run / "mesh.ply"
    with locked_if_run(target.parent):
        if out is not None or run.is_dir():
            _check_not_source(target, run)
            check_output_file(target, (".ply",), overwrite=overwrite, own="mesh.ply")
        cloud = _open_cloud(run)
        metric = metric_of(scale, run)
        if metric is not None and metric.factor != 1.0:
            cloud = replace(cloud, xyz=metric.factor * cloud.xyz)
        done = mesh_cloud(cloud, MeshSettings(depth, trim))
        surface, comments = done.mesh, (MESH_COMMENT, *(metric.comments if metric else ()))
        write_mesh(target, surface.vertices, surface.faces, surface.normals, surface.rgb, comments=comments)
    share = done.area_trimmed / max(done.area + done.area_trimmed, 1e-12)
    say, unit = make_say(quiet), metric.unit if metric else "units"
    for note in metric.notes if metric else ():
        say(f"note: {note}")
    say(
        f"written: {target} ({len(done.mesh.vertices):,} vertices, {len(done.mesh.faces):,} faces, depth {done.depth}, "
        f"from {done.points_used:,} of {len(cloud.xyz):,} points; {done.area:.4g} square {unit}, {share:.0%} of the "
        "closed surface trimmed away)"
    )


def _check_not_source(target: Path, source: Path) -> None:
    if target.is_file() and target.resolve() in (source.resolve(), (source / "points.ply").resolve()):
        raise UsageError(f"-o {target}: the cloud that is meshed; expected another file")


def _open_cloud(source: Path) -> "PointCloud":
    """The cloud of a run or file with its normals, else the points of a model with normals found for them."""
    from dd_sfm.io.clouds import face_count, read_cloud
    from dd_sfm.io.scene import open_scene
    from dd_sfm.sfm.point_cloud import to_cloud

    path = source if source.is_file() or source.suffix.lower() == ".ply" else source / "points.ply"
    if path.is_file():
        if faces := face_count(path):
            raise InputError(
                f"{path}: already a mesh, of {faces:,} faces; expected a cloud. Mesh the run it was made from"
            )
        return read_cloud(path)
    return to_cloud(open_scene(source).model)
