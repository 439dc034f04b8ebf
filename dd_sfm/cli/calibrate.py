"""dd-sfm calibrate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.errors import OutputError, UsageError

if TYPE_CHECKING:
    from dd_sfm.calibration.board import Board
    from dd_sfm.calibration.result import BoardCalibration

PICTURES = ("residuals", "coverage", "undistorted")
"""Pictures beside the calibration: SCOPE_residuals.png for SCOPE.yaml, and so on."""


@dataclass(frozen=True)
class BoardOptions:
    """The board that was filmed."""

    board: Annotated[
        str | None,
        typer.Option(help="Inner corners, where four squares meet, as 9x6.", show_default=False),
    ] = None
    squares: Annotated[
        str | None, typer.Option(help="Squares instead of inner corners: 10x7 is --board 9x6.", show_default=False)
    ] = None
    square_mm: Annotated[
        float | None, typer.Option(min=0.001, help="Side of a square; only noted.", show_default=False)
    ] = None
    charuco: Annotated[bool, typer.Option("--charuco", help="A ChArUco board: it may be seen in part.")] = False
    dictionary: Annotated[
        str | None, typer.Option(help="Of ChArUco's markers, such as 5x5_100.", show_default="found")
    ] = None
    marker_mm: Annotated[
        float | None,
        typer.Option(min=0.001, help="Side of ChArUco's markers.", show_default="three quarters of a square"),
    ] = None


@expand_options
def calibrate(
    *,
    source: Annotated[
        Path,
        typer.Argument(metavar="VIDEO", help="Video of the board, or folder of images of it.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--output", "-o", help="Calibration to write: .yaml or .yml.", show_default=False),
    ],
    board: BoardOptions,
    model: Annotated[
        str, typer.Option(help="auto, pinhole (with distortion) or fisheye; auto: by held-out views.")
    ] = "auto",
    every: Annotated[int, typer.Option(min=1, help="Look at every N-th frame.")] = 1,
    max_frames: Annotated[
        int, typer.Option(min=3, max=500, help="Fit at most this many views, those that differ most.")
    ] = 40,
    json: Annotated[Path | None, typer.Option("--json", help="JSON file with all figures.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    messages: o.MessageOptionsBesideFile,
) -> None:
    """Calibrate a scope by a video of a checkerboard or ChArUco board.

    Sharp frames that differ are picked, lens models are fitted and compared on views that were held out.

    Example: dd-sfm calibrate board.mp4 -o scope.yaml --board 9x6

    Writes scope.yaml, which reconstruct and compare take as --calibration, and beside it scope_residuals.png,
    scope_coverage.png and scope_undistorted.png.
    """
    filmed = _board(board)
    pictures = {name: out.with_name(f"{out.stem}_{name}.png") for name in PICTURES}
    check_output_file(out, (".yaml", ".yml"), overwrite=overwrite)
    _check_apart(source, out, pictures["residuals"])
    for path in pictures.values():
        check_output_file(path, (".png",), overwrite=overwrite)
    if json is not None:
        check_output_file(json, (".json",), overwrite=overwrite, option="--json")
    from dd_sfm import api

    say, progress = make_say(messages.quiet), make_progress(messages.quiet)
    found = api.calibrate(
        source, filmed, model=model, every=every, max_views=max_frames, progress=progress, on_stage=say
    )
    _write(found, out, pictures, json)
    if has_tables(messages.quiet):
        _print_table(found)
    written = [out, *pictures.values(), *([json] if json else [])]
    say(f"written: {', '.join(map(str, written))}")


def _check_apart(source: Path, out: Path, picture: Path) -> None:
    """Check that no picture of the result comes to lie among those of the board.

    Raises:
        OutputError: If one would: the next calibration from that folder would read it.
    """
    if source.is_dir() and out.resolve().parent == source.resolve():
        raise OutputError(
            f"-o {out}: lies in the folder of the board's pictures, where {picture.name} and others beside it would be "
            "taken for such pictures; expected another folder"
        )


def _board(options: BoardOptions) -> "Board":
    """The board that options describe.

    Raises:
        UsageError: If they contradict each other, or no size is given.
    """
    from dd_sfm.calibration.board import Board, parse_counts
    from dd_sfm.calibration.charuco import check_dictionary

    if options.board is not None and options.squares is not None:
        raise UsageError("--board and --squares: both given; expected one of them")
    if options.board is not None:
        columns, rows = parse_counts("--board", options.board)
    elif options.squares is not None:
        columns, rows = (n - 1 for n in parse_counts("--squares", options.squares))
    else:
        raise UsageError("--board: missing; expected the board's inner corners, such as --board 9x6 for 10x7 squares")
    if not options.charuco:
        if options.dictionary or options.marker_mm:
            raise UsageError("--dictionary and --marker-mm: without --charuco; expected them for a ChArUco board only")
        return Board(columns, rows, options.square_mm)
    share = 0.75
    if options.marker_mm is not None:
        if options.square_mm is None or not 0.2 < options.marker_mm / options.square_mm < 1:
            raise UsageError(f"--marker-mm {options.marker_mm:g}: expected --square-mm as well, larger than it")
        share = options.marker_mm / options.square_mm
    dictionary = check_dictionary(options.dictionary) if options.dictionary else None
    return Board(columns, rows, options.square_mm, True, dictionary, share)


def _write(found: "BoardCalibration", out: Path, pictures: dict[str, Path], json: Path | None) -> None:
    from dd_sfm.io.atomic import json_text, text_bytes, write_together
    from dd_sfm.io.images import encoded_image
    from dd_sfm.io.video import iter_frames, open_source
    from dd_sfm.viz.render.calibration_plots import coverage_figure, residual_figure, straight_picture
    from dd_sfm.viz.render.evaluation_plots import png

    files = {
        out: text_bytes(found.yaml()),
        pictures["residuals"]: png(residual_figure(found)),
        pictures["coverage"]: png(coverage_figure(found)),
    }
    for _, frame in iter_frames(open_source(Path(found.source)), [found.example_frame]):
        files[pictures["undistorted"]] = encoded_image(".png", straight_picture(found, frame))
    if json is not None:
        files[json] = json_text(found.as_json()).encode()
    # Together, so that a command that was ended in between can be repeated.
    write_together(files)


def _print_table(found: "BoardCalibration") -> None:
    """Print the parameters with their deviations, the models compared, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    from dd_sfm.calibration.model_choice import CORNER_OUTLIER, VIEW_OUTLIER
    from dd_sfm.cli.console import console

    counts, chosen, measures = found.counts, found.chosen, found.measures
    table = Table(title=Text(f"calibration: {found.source}"), show_header=False, title_justify="left")
    table.add_column()
    table.add_column()
    left_out = [f"{counts.blurred} blurred"] if counts.blurred else []
    left_out += [_left_out(len(chosen.left_out), "frame", VIEW_OUTLIER)] if chosen.left_out else []
    of_these = f", {', '.join(left_out)}" if left_out else ""
    corners_left_out = _left_out(chosen.corners_left_out, "corner", CORNER_OUTLIER)
    rows = [
        ("board", found.board.name + (f", {found.board.dictionary}" if found.board.dictionary else "")),
        ("frames", f"{counts.searched} searched, {counts.found} with the board{of_these}; {len(chosen.views)} fitted"),
        ("corners", f"{sum(len(v.xy) for v in chosen.views):,} fitted; {corners_left_out}"),
        *(
            (name, f"{value:.{_digits(found.deviations[name])}f} +- {found.deviations[name]:.2g}")
            for name, value in found.params.items()
        ),
        ("residual", f"rms {chosen.fit.rms_px:.3f} px"),
        *(
            (
                f"{'*' if other is chosen else ' '} held out",
                f"rms {other.held_out_rms_px:.3f} px by {other.fit.model.name}",
            )
            for other in found.tried
        ),
        (
            "field of view",
            f"corners in {measures.covered:.0%} of it, out to {min(measures.rim_reached, 1):.0%} of its radius; "
            f"in 95 % of it a point is drawn within {measures.rim_px1000:.2f} px of where it belongs (one standard "
            "deviation, in a picture whose field of view is 1000 px wide)",
        ),
        *(("note", note.text) for note in found.notes),
        ("verdict", found.verdict.text),
        *(("do better", advice) for advice in found.verdict.advice),
    ]
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)


def _left_out(count: int, kind: str, times: float) -> str:
    """How many frames or corners were left out as outliers, and from which residual on."""
    if not count:
        return "none left out"
    return f"{count} {kind}{'s' * (count > 1)} left out: over {times:g} times the usual residual"


def _digits(deviation: float) -> int:
    """Decimal places that show a value to a tenth of its deviation or so."""
    import math

    return (
        4
        if not deviation > 0 or not math.isfinite(deviation)
        else min(7, max(0, 1 - math.floor(math.log10(deviation))))
    )
