"""dd-sfm convert."""

from pathlib import Path
from typing import Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.registration.known_scale import scale_finder

Target = Annotated[
    str,
    typer.Option(
        "--to",
        help="colmap, colmap-text, jhu, nerfstudio, hloc, depth, colmap-depth, 3dgs, openmvs, metashape, slicer, "
        "las, e57, usd, ply or tum.",
        show_default=False,
    ),
]
DepthOf = Annotated[
    str | None,
    typer.Option(
        "--depth",
        metavar="references|all",
        help="Of depth and colmap-depth: every reference frame, or every frame with a pose; all: nerfstudio's, too.",
        show_default="references; of nerfstudio none",
    ),
]


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help="Run folder, COLMAP model folder (binary or text) or JHU sequence.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write, or a .ply, .tum, .txt, .xml, .las, .e57 or .usdc file.",
            show_default=False,
        ),
    ],
    to: Target,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the model's images, when not beside it.")
    ] = None,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy images and masks too (jhu and nerfstudio always have them).")
    ] = False,
    depth: DepthOf = None,
    scale: o.Scale = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier conversion wrote there; other files stay.")
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
    json_lines: o.Json = False,
) -> None:
    """Write a reconstruction in the format of another tool.

    colmap, colmap-text: a COLMAP model. jhu: a sequence of the Johns Hopkins format, to train on. nerfstudio:
    transforms.json with images, masks and cloud. hloc: features, matches and a model to localise in. depth: depth maps
    as 16-bit PNG and arrays, with confidence. colmap-depth: COLMAP's dense workspace with depth maps. 3dgs: images and
    sparse/0 with pinhole cameras, for Gaussian splatting. openmvs: scene.mvs and images. metashape: cameras as XML.
    slicer: VTP files for 3D Slicer. las, e57: the cloud for CloudCompare. usd: cloud and cameras for Blender. ply: the
    coloured cloud. tum: the camera path, for evo.

    Example: dd-sfm convert runs/nose -o exports/nose --to nerfstudio
    """
    from dd_sfm.export.convert import convert as run
    from dd_sfm.export.formats import FORMATS

    done = run(
        source, out, to, images=images, copy_images=copy_images, depth_of=depth, overwrite=overwrite,
        metric=scale_finder(scale, source), progress=make_progress(quiet),
    )  # fmt: skip
    say = make_say(quiet)
    for note in done.notes:
        say(f"note: {note}")
    poses = "" if FORMATS[to].has_depth else f", {done.images} images with a pose"
    points = f", {done.points:,} points" if FORMATS[to].has_points else ""
    say(f"{to}: {done.path}{poses}{points}")
