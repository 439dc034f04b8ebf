"""What the page of dd-sfm view costs at a given number of points, in headless Chromium that draws by software.

    python tests/accuracy/page_at_a_million_points.py RUN --points 1000000

It makes a cloud of so many points out of those of a finished run, each of them moved by a part of the distance to its
neighbours, with the cameras, errors and colours of the run. Then it saves the scene as dd-sfm view --save does, serves
the page from a process of its own, and turns it by the mouse. It prints what that took; the network is not used.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from dd_sfm.viz.browser.serve import save_page, serve_page
from dd_sfm.viz.render.cloud_view import CloudView, open_cloud_view
from dd_sfm.viz.render.view_state import ViewState

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
VIEWPORT = {"width": 1280, "height": 800}
COUNT_FRAMES = """() => {
    window.drawn = 0;
    for (const kind of [WebGLRenderingContext, WebGL2RenderingContext]) {
        for (const name of ["drawArrays", "drawElements", "drawArraysInstanced", "drawElementsInstanced"]) {
            const draw = kind.prototype[name];
            if (draw) kind.prototype[name] = function (...given) { window.calls = (window.calls || 0) + 1;
                return draw.apply(this, given); };
        }
    }
    const tick = () => {
        if (window.calls) { window.drawn += 1; window.calls = 0; }
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
}"""
"""Counts the frames of the browser in which something was drawn."""


def run_like(run: Path, points: int) -> CloudView:
    """A cloud of so many points that is like that of a run."""
    cloud, rng = open_cloud_view(run), np.random.default_rng(0)
    chosen = np.arange(points) % len(cloud.xyz)
    moved = rng.normal(0, 0.3, (points, 3)) * cloud.spacing[chosen, None]
    return replace(
        cloud,
        xyz=cloud.xyz[chosen] + moved,
        rgb=cloud.rgb[chosen],
        error_px=cloud.error_px[chosen],
        track_length=cloud.track_length[chosen],
        uncertainty=cloud.uncertainty[chosen],
        first_frame=cloud.first_frame[chosen],
        error=cloud.error[chosen],
    )


def resident(processes: list[psutil.Process]) -> float:
    """Memory of processes in MB; what several share is counted once."""
    found = 0
    for process in processes:
        # A process of the browser may end at any time.
        with contextlib.suppress(psutil.Error):
            found += process.memory_full_info().pss
    return found / 1e6


def save(state: ViewState, points: int) -> None:
    """Save the scene as a page; print time and size."""
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder) / "scene.html", time.perf_counter()
        save_page(path, state, "front", max_points=points)
        print(f"--save: {time.perf_counter() - start:.1f} s, {path.stat().st_size / 1e6:.1f} MB", flush=True)


def is_shown(opened) -> bool:
    """Whether the scene holds more than the background."""
    box = opened.locator("canvas").first.bounding_box()
    picture = cv2.imdecode(np.frombuffer(opened.screenshot(clip=box, timeout=120_000), np.uint8), cv2.IMREAD_COLOR)
    return float((picture.min(2) < 200).mean()) > 0.05


def turn(opened, seconds: float) -> float:
    """Turn the scene by the mouse for some time; returns the frames a second that were drawn."""
    box = opened.locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(x, y)
    opened.mouse.down()
    before, start, step = opened.evaluate("window.drawn"), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step += 1
        opened.mouse.move(x + 150 * np.sin(step / 8), y + 40 * np.sin(step / 13))
        opened.wait_for_timeout(30)
    drawn = opened.evaluate("window.drawn") - before
    rate = drawn / (time.perf_counter() - start)
    opened.mouse.up()
    return rate


def look(address: str, server: psutil.Process, seconds: float) -> None:
    """Open the page in a browser; print when it is shown, how fast it turns, and the memory of both processes."""
    own = psutil.Process()
    with sync_playwright() as playwright:
        before = {child.pid for child in own.children(recursive=True)}
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_page(viewport=VIEWPORT)
        opened.set_default_timeout(300_000)
        opened.add_init_script(f"({COUNT_FRAMES})()")
        start = time.perf_counter()
        opened.goto(address)
        opened.wait_for_selector("canvas")
        while not is_shown(opened):
            opened.wait_for_timeout(100)
        print(f"shown after: {time.perf_counter() - start:.1f} s", flush=True)
        opened.locator(".mantine-Notification-closeButton").dispatch_event("click")
        print(f"turning: {turn(opened, seconds):.2f} frames a second", flush=True)
        browsing = [child for child in own.children(recursive=True) if child.pid not in before]
        print(f"memory: server {resident([server]):.0f} MB, browser {resident(browsing):.0f} MB", flush=True)
        browser.close()


def serve(state: ViewState, points: int) -> None:
    """Serve the page; print the memory that the process has before, and the address."""
    print(f"memory of the process with the cloud, before it serves: {resident([psutil.Process()]):.0f} MB", flush=True)
    serve_page(
        state, "front", lambda line: print(line.split()[0], flush=True), port=None, max_points=points, browser=False,
        has_display=True,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to turn")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    state = ViewState((run_like(given.run, given.points),))
    if given.serve:
        serve(state, given.points)
        return
    if CHROMIUM is None:
        sys.exit("no Chromium on this machine; expected chromium, chromium-browser or google-chrome")
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{given.points:,} points, {len(state.available_colours)} colourings, {cores} cores, load {load:.1f}")
    save(state, given.points)
    command = [sys.executable, __file__, str(given.run), "--points", str(given.points), "--serve"]
    # An SSH session would print the line of a tunnel too.
    environment = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            print(server.stdout.readline().strip())
            look(server.stdout.readline().strip(), psutil.Process(server.pid), given.seconds)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
