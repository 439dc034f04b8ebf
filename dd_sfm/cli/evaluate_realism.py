"""dd-sfm evaluate realism."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.evaluation_tables import realism_table
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def realism(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIPS", help="Rendered clips: videos or their folders.", show_default=False),
    ],
    real: Annotated[
        list[Path] | None, typer.Option("--real", help="A real video; repeat for more.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option("--frames", min=2, help="Frames a clip, five apart.")] = 15,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG to write: frames of all clips side by side.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier sheet.")] = False,
    debug: o.Debug = False,
) -> None:
    """Compare rendered clips with real ones by keypoints, matches, gradients and brightness.

    Example: dd-sfm evaluate realism clips/sinus --real nose1.mp4 --real nose2.mp4 --sheet beside.png
    """
    from dd_sfm.evaluation.realism import picture_statistics, ratios_to_real
    from dd_sfm.viz.render.frame_sheet import frame_sheet, write_sheet

    if sheet is not None:
        check_output_file(sheet, (".png",), overwrite=overwrite, option="--sheet")
    originals = real or []
    pictures = {path: _read(path, count) for path in [*originals, *clips]}
    measured = {path: picture_statistics(frames, mask) for path, (frames, mask) in pictures.items()}
    references = [measured[path] for path in originals]
    realism_table(
        [(path.name, values) for path, values in zip(originals, references, strict=True)],
        [(path.name, measured[path], ratios_to_real(measured[path], references)) for path in clips],
    )
    if sheet is not None:
        write_sheet(sheet, frame_sheet([(_label(path), *pictures[path]) for path in [*originals, *clips]]))
        print(f"written: {sheet}", file=sys.stderr)


def _read(path: Path, count: int) -> "tuple[list[NDArray[Any]], NDArray[Any]]":
    """Frames of a clip, five apart, and its field of view."""
    from dd_sfm.evaluation.realism import FRAME_GAP
    from dd_sfm.io.video import iter_frames, open_source
    from dd_sfm.pipeline.masks import find_field_of_view

    source = open_source(path / "clip.mp4" if (path / "clip.mp4").is_file() else path)
    frames = [image for k, image in iter_frames(source, range(FRAME_GAP * (count - 1) + 1)) if k % FRAME_GAP == 0]
    if len(frames) < 2:
        raise InputError(
            f"{path}: fewer than {FRAME_GAP + 1} frames; expected more, as matches are counted between frames "
            f"{FRAME_GAP} apart"
        )
    return frames, find_field_of_view(frames, str(path))


def _label(path: Path) -> str:
    """Name, organ and difficulty of a rendered clip's folder, else the name of the file."""
    import yaml

    from dd_sfm.documents import parse_yaml, regular

    try:
        settings = parse_yaml(regular(path / "scene.yaml").read_text())
        return f"{path.resolve().name}: rendered {settings['organ']}, difficulty {settings['difficulty']}"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return path.stem
