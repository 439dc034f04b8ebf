"""dd-sfm view."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_say
from dd_sfm.cli.doctor import open3d_problem
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.errors import DeviceError, InputError, UsageError

if TYPE_CHECKING:
    from dd_sfm.viz.render.cloud_view import CloudView


@dataclass(frozen=True)
class ViewOptions:
    """What is shown, from where, and whether in a window or as a picture."""

    screenshot: Annotated[
        Path | None, typer.Option(help="Write a PNG instead of opening a window; needs no display.", show_default=False)
    ] = None
    from_: Annotated[
        str,
        typer.Option(
            "--view",
            help="front, top, side, oblique or camera:N, N a frame number; a screenshot may have several: front,side.",
        ),
    ] = "front"
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the screenshot or window.")] = "1280x720"
    colour: Annotated[str, typer.Option(help="photo, error, tracks, uncertainty or run.")] = "photo"
    max_error: Annotated[
        float | None, typer.Option(min=0, help="Hide points with a larger error, in pixels.", show_default=False)
    ] = None
    min_track: Annotated[int, typer.Option(min=0, help="Hide points that fewer frames see.")] = 0
    point_size: Annotated[float, typer.Option(min=0.1, max=10, help="Size of the points, 1 for the usual.")] = 1.0
    layout: Annotated[str, typer.Option(help="Of two runs: beside or overlaid.")] = "beside"
    scale: Annotated[
        float | None, typer.Option(min=1e-9, metavar="MM_PER_UNIT", help="Gives distances in mm.", show_default=False)
    ] = None
    cameras: Annotated[bool, typer.Option("--cameras/--no-cameras", help="Draw the cameras.")] = True


@expand_options
def view(
    *,
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder, COLMAP model, JHU sequence or PLY file.", show_default=False),
    ],
    run2: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN2", help="A second one of the same video, brought beside the first.", show_default=False
        ),
    ] = None,
    options: ViewOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing screenshot.")] = False,
    messages: o.MessageOptions,
) -> None:
    """Look at a cloud and its cameras, or at two runs of the same video side by side.

    Opens a window and prints its keys; with --screenshot FILE.png it draws a picture without a display.

    Example: dd-sfm view runs/demo --screenshot demo.png --view side --colour error
    """
    from dd_sfm.io.images import write_image
    from dd_sfm.viz.render.screenshot import render_screenshot
    from dd_sfm.viz.render.viewpoints import parse_size, parse_views
    from dd_sfm.viz.window.state import ViewState

    screenshot, layout, start = options.screenshot, options.layout, options.from_
    width, height = parse_size(options.size)
    if layout not in ("beside", "overlaid"):
        raise UsageError(f"--layout {layout}: unknown; expected beside or overlaid")
    if screenshot is not None:
        check_output_file(screenshot, (".png",), overwrite=overwrite, option="--screenshot")
    elif len(parse_views(start)) > 1:
        raise UsageError(f"--view {start}: several views; expected one for a window, or --screenshot FILE.png")
    say = make_say(messages.quiet)
    clouds = _open_clouds(run, run2, say, in_window=screenshot is None)
    state = ViewState(
        clouds,
        mm_per_unit=options.scale,
        point_size=options.point_size,
        cameras=options.cameras,
        min_track=options.min_track,
    )
    state.set_colour(options.colour)
    state.max_error_px = float("inf") if options.max_error is None else options.max_error
    state.side_by_side = run2 is not None and layout == "beside"
    if screenshot is not None:
        write_image(screenshot, render_screenshot(state, start, width, height))
        say(f"written: {screenshot} ({state.counts()} {state.point_words})")
        return
    from dd_sfm.viz.window.viewer import open_window

    open_window(state, start, width, height, say)


def _open_clouds(
    run: Path, run2: Path | None, say: Callable[[str], None], *, in_window: bool
) -> "tuple[CloudView, ...]":
    """One cloud, or two in one frame and with names that tell them apart.

    Raises:
        InputError: If one cannot be read, or cameras and pictures of the second are those of another video.
    """
    from dd_sfm.viz.render.cloud_view import align_cloud_view, distinct_labels, open_cloud_view
    from dd_sfm.viz.render.same_video import check_same_pictures, renumber_images

    clouds = [open_cloud_view(run)]
    if in_window:
        _check_window()
    if run2 is not None:
        second, notes = renumber_images(open_cloud_view(run2), clouds[0])
        second, same = align_cloud_view(second, clouds[0])
        for note in notes:
            say(f"note: {note}")
        try:
            check_same_pictures(clouds[0], second)
        except InputError as error:
            # Pictures of one video differ too when one run undid the distortion of a wide lens.
            if not same:
                raise
            say(f"note: {error}")
        if not same:
            say(
                f"note: the cameras of {run2} do not match those of {run}; one run failed, or they are of different "
                "videos"
            )
        clouds.append(second)
    labels = distinct_labels([cloud.label for cloud in clouds], [cloud.source for cloud in clouds])
    return tuple(replace(cloud, label=label) for cloud, label in zip(clouds, labels, strict=True))


def _check_window() -> None:
    from dd_sfm.viz.window.viewer import check_display

    problem = open3d_problem()
    if problem:
        raise DeviceError(f"view: {problem}. Render a picture instead: --screenshot FILE.png")
    check_display()
