"""Serve the page on this machine, or save its scene as one file."""

import contextlib
import functools
import html
import io
import os
import random
import re
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dd_sfm.errors import DeviceError, Terminated
from dd_sfm.io.atomic import text_bytes, write_bytes
from dd_sfm.viz.browser.drawn import MAX_POINTS, Drawn, thinning_note
from dd_sfm.viz.browser.page import Page, PageCamera, start_camera
from dd_sfm.viz.browser.scene import SceneNodes
from dd_sfm.viz.render.view_state import ViewState

HOST = "127.0.0.1"
DEFAULT_PORT = 8080
OWN_PAGES = [re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")]
"""Pages that may connect: those that this machine serves, by a tunnel too. Any other that the browser shows may not."""
SUFFIXES = (".html", ".viser")


def check_library() -> None:
    """Check that the library that makes the page is installed.

    Raises:
        DeviceError: If it is not.
    """
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise DeviceError(
            f"view: viser, which makes the page and comes with dd-sfm, cannot be imported ({error}); expected version "
            "1.1 or later. Install it: pip install 'viser>=1.1', or use --window or --screenshot FILE.png"
        ) from error


def open_server(port: int | None) -> Any:
    """Start viser's server on this machine alone, at a port, or at the first free one from :data:`DEFAULT_PORT` on.

    Raises:
        DeviceError: If the library is missing, or the port that was asked for is taken.
    """
    check_library()
    import viser
    import websockets.asyncio.server

    if port:
        _check_free(port)
    # What the library imports as it starts draws random numbers.
    serve, seed = websockets.asyncio.server.serve, random.getstate()
    # The library takes connections of any page that the browser shows, and has no option for it.
    websockets.asyncio.server.serve = functools.partial(serve, origins=OWN_PAGES)  # type: ignore[assignment, misc]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            server = viser.ViserServer(host=HOST, port=DEFAULT_PORT if port is None else port, verbose=False)
    finally:
        websockets.asyncio.server.serve = serve  # type: ignore[misc]
        random.setstate(seed)
    # Its page could ask for a public address: pictures of patients stay here.
    server.request_share_url = lambda verbose=True: None  # type: ignore[method-assign]
    return server


def _check_free(port: int) -> None:
    with socket.socket() as tried:
        # As the server binds it: a port that was used a moment ago is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise DeviceError(
                f"--port {port}: cannot be used ({error.strerror}); expected a free one. Leave --port out to take the "
                "first that is free"
            ) from error


@contextlib.contextmanager
def served(
    state: ViewState, view: str, *, port: int | None = None, max_points: int = MAX_POINTS, notes: tuple[str, ...] = ()
) -> Iterator[tuple[Page, str]]:
    """Serve the page while the context lasts; gives the page and its address.

    Args:
        state: What to show; the page's controls change it.
        view: The first view: front, top, side, oblique or camera:N.
        port: See :func:`open_server`.
        max_points: See :class:`Drawn`.
        notes: Lines that the page shows.

    Raises:
        DeviceError: See :func:`open_server`.
        UsageError, InputError: If the view is unknown, or its frame has no pose.
    """
    camera = start_camera(state, view)
    server = open_server(port)
    try:
        page = Page(server, Drawn(state, max_points), camera, notes)
        try:
            server.on_client_connect(lambda client: page.fit(client, view))
            yield page, f"http://{HOST}:{server.get_port()}"
        finally:
            page.close()
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def serve_page(
    state: ViewState, view: str, say: Callable[[str], None], *, port: int | None, max_points: int, browser: bool,
    has_display: bool, notes: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Serve the page until the process is stopped.

    Args:
        state, view, port, max_points, notes: See :func:`served`.
        say: Prints a line.
        browser: Open a browser where there is a display.
        has_display: Whether there is one.
    """
    with served(state, view, port=port, max_points=max_points, notes=notes) as (_, address):
        say(f"{address}  (Ctrl-C ends it)")
        number = address.rsplit(":", 1)[1]
        if not has_display or os.environ.get("SSH_CONNECTION"):
            user = os.environ.get("USER") or "USER"
            say(f"from your own machine: ssh -L {number}:{HOST}:{number} {user}@{socket.gethostname()}, then {address}")
        if browser and has_display:
            webbrowser.open(address)
        # To end it so is not to break something off.
        try:
            threading.Event().wait()
        except Terminated:
            raise
        except KeyboardInterrupt:
            pass


def save_page(
    path: Path, state: ViewState, view: str, *, max_points: int = MAX_POINTS, notes: tuple[str, ...] = ()
) -> str:
    """Write the scene as one file: a page that opens without server and network, or viser's own format.

    The points are in it once for each colouring, and with them the meshes of the runs; the list of the scene's parts
    in the page switches between them. Filters are as the state has them, and cannot be changed.

    Returns:
        A note where points, or a damaged mesh, were left out, "" otherwise.

    Raises:
        DeviceError: If the library is missing.
        UsageError, InputError: If the view is unknown, or its frame has no pose.
        OutputError: If the file cannot be written.
    """
    camera, as_page = start_camera(state, view), path.suffix.lower() == ".html"
    content, note = saved_scene(state, camera, as_page=as_page, max_points=max_points, notes=notes)
    write_bytes(path, content)
    return note


def saved_scene(
    state: ViewState,
    camera: PageCamera,
    *,
    as_page: bool = True,
    max_points: int = MAX_POINTS,
    notes: tuple[str, ...] = (),
) -> tuple[bytes, str]:
    """The content of :func:`save_page`'s file, which shows ``notes`` too, and the note on what was left out."""
    drawn, server = Drawn(state, max_points), open_server(0)
    try:
        camera.apply(server.initial_camera, drawn.extent)
        nodes = SceneNodes(server.scene, drawn)
        nodes.add_colourings(state.available_colours)
        nodes.update_meshes()
        nodes.add_surfaces()
        nodes.update_cameras()
        nodes.update_marks()
        thinned = thinning_note(drawn.points(), max_points)
        note = "; ".join([*([thinned] if thinned else []), *nodes.problems.values()])
        if not as_page:
            return server.get_scene_serializer().serialize(), note
        page = _with_caption(server.scene.as_html(), state, [*notes, *([note] if note else [])])
        return text_bytes(page), note
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def _with_caption(page: str, state: ViewState, notes: list[str]) -> str:
    """A saved page with lines that say what it shows."""
    names = ", ".join(f"{cloud.label}: {cloud.point_word}" for cloud in state.clouds)
    text = ". ".join([f"{names} ({state.counts()})", *notes])
    scales = [f"{name}: {scale.label}, {scale.low:.3g} to {scale.high:.3g}" for name, scale in state.scales.items()]
    colourings = "Parts and colourings: the button at the upper right. " + "; ".join(scales)
    style = (
        "position:fixed;left:8px;bottom:8px;z-index:10;padding:4px 8px;border-radius:4px;background:#ffffffd0;"
        "color:#1e2228;font:13px sans-serif;pointer-events:none;max-width:70vw"
    )
    caption = f'<div id="caption" style="{style}">{html.escape(text)}<br>{html.escape(colourings)}</div>'
    end = page.rindex("</body>")
    return page[:end] + caption + page[end:]
