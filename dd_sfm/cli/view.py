"""dd-sfm view."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_say
from dd_sfm.cli.doctor import open3d_problem
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_output_file
from dd_sfm.cli.reporter import reporter
from dd_sfm.errors import DeviceError, UsageError
from dd_sfm.registration.known_scale import metric_of

if TYPE_CHECKING:
    from dd_sfm.viz.render.view_state import ViewState


@dataclass(frozen=True)
class ViewOptions:
    """What is shown, from where, and whether in a browser, in a window, as a picture or as a file."""

    window: Annotated[bool, typer.Option("--window", help="Open a window of its own instead of a page.")] = False
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write the scene as one file, which opens without a server: .html, or .viser.", show_default=False
        ),
    ] = None
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the page; the first free one from 8080 on.", show_default=False),
    ] = None
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page, where there is a display.")
    ] = True
    max_points: Annotated[int, typer.Option(min=1000, help="Draw at most so many points in the page; it says so.")] = (
        1_000_000
    )
    screenshot: Annotated[
        Path | None, typer.Option(help="Write a PNG instead; needs no display.", show_default=False)
    ] = None
    from_: Annotated[
        str | None,
        typer.Option(
            "--view",
            help="front, top, side, oblique or camera:N, N a frame number; a screenshot may have several: front,side.",
            show_default="front for a screenshot, else across the cloud's shortest side",
        ),
    ] = None
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the screenshot or window.")] = "1280x720"
    colour: Annotated[str, typer.Option(help="photo, error, tracks, uncertainty, frame or run.")] = "photo"
    max_error: Annotated[
        float | None, typer.Option(min=0, help="Hide points with a larger error, in pixels.", show_default=False)
    ] = None
    min_track: Annotated[int, typer.Option(min=0, help="Hide points that fewer frames see.")] = 0
    point_size: Annotated[float, typer.Option(min=0.1, max=10, help="Size of the points, 1 for the usual.")] = 1.0
    layout: Annotated[str, typer.Option(help="Of two runs: beside or overlaid.")] = "beside"
    scale: o.Scale = None
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing screenshot or page.")] = False,
    messages: o.MessageOptions,
) -> None:
    """Look at a cloud and its cameras, or at two runs of the same video side by side.

    Serves a page on this machine and prints its address; --window opens a window, --screenshot FILE.png draws a
    picture, --save FILE.html writes a page to hand on.

    Example: dd-sfm view runs/demo --screenshot demo.png --view side --colour error
    """
    from dd_sfm.viz.render.open_clouds import open_clouds
    from dd_sfm.viz.render.view_state import ViewState
    from dd_sfm.viz.render.viewpoints import parse_size

    size = parse_size(options.size)
    _check(options, overwrite)
    say, notes = make_say(messages.quiet), []

    def note(line: str) -> None:
        notes.append(line)
        say(line)

    clouds = open_clouds([run] if run2 is None else [run, run2], note)
    metric = metric_of(options.scale, run)
    for line in metric.notes if metric else ():
        note(f"note: {line}")
    state = ViewState(
        clouds,
        mm_per_unit=metric.factor if metric else None,
        scale_error=metric.error if metric else 0.0,
        point_size=options.point_size,
        cameras=options.cameras,
        min_track=options.min_track,
    )
    state.set_colour(options.colour)
    state.max_error_px = float("inf") if options.max_error is None else options.max_error
    state.side_by_side = run2 is not None and options.layout == "beside"
    _show(state, options, size, say, tuple(notes))


def _check(options: ViewOptions, overwrite: bool) -> None:
    """Check the options before anything is read.

    Raises:
        UsageError: If they contradict each other.
        OutputError: If a file is there already, or cannot be written.
        DeviceError: If there is no display for a window, or the library for a page is missing.
    """
    from dd_sfm.viz.render.viewpoints import parse_views

    if options.layout not in ("beside", "overlaid"):
        raise UsageError(f"--layout {options.layout}: unknown; expected beside or overlaid")
    asked = {"--window": options.window, "--screenshot": options.screenshot, "--save": options.save}
    named = [name for name, value in asked.items() if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: expected one of them")
    if options.screenshot is not None:
        check_output_file(options.screenshot, (".png",), overwrite=overwrite, option="--screenshot")
        return
    if options.from_ is not None and len(parse_views(options.from_)) > 1:
        raise UsageError(f"--view {options.from_}: several views; expected one, or --screenshot FILE.png")
    if options.window:
        _check_window()
        return
    from dd_sfm.viz.browser.serve import SUFFIXES, check_library

    if options.save is not None:
        check_output_file(options.save, SUFFIXES, overwrite=overwrite, option="--save")
    check_library()


def _show(
    state: "ViewState", options: ViewOptions, size: tuple[int, int], say: Callable[[str], None], notes: tuple[str, ...]
) -> None:
    """Show a state in a browser or a window, or write it as a picture or a page."""
    from dd_sfm.viz.render.viewpoints import first_view

    start = options.from_ or first_view(state.clouds[0], state.clouds[0].xyz)
    if options.screenshot is not None:
        from dd_sfm.io.images import write_image
        from dd_sfm.viz.render.screenshot import render_screenshot

        start = options.from_ or "front"
        write_image(options.screenshot, render_screenshot(state, start, *size))
        say(f"written: {options.screenshot} ({state.counts()} {state.point_words})")
    elif options.window:
        from dd_sfm.viz.window.viewer import open_window

        reporter().rest()
        open_window(state, start, *size, say)
    elif options.save is not None:
        from dd_sfm.viz.browser.serve import save_page

        left_out = save_page(options.save, state, start, max_points=options.max_points, notes=notes)
        if left_out:
            say(f"note: {left_out}")
        say(f"written: {options.save} ({state.counts()} {state.point_words})")
    else:
        from dd_sfm.viz.browser.serve import serve_page
        from dd_sfm.viz.window.viewer import lacks_display

        reporter().rest()
        serve_page(
            state, start, say, port=options.port, max_points=options.max_points, browser=options.browser,
            has_display=not lacks_display(), notes=notes,
        )  # fmt: skip


def _check_window() -> None:
    from dd_sfm.viz.window.viewer import check_display

    problem = open3d_problem()
    if problem:
        raise DeviceError(f"view: {problem}. Render a picture instead: --screenshot FILE.png")
    check_display()
