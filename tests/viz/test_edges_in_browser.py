"""Both edges of an instrument are picked in the picture of a frame, in a real browser."""

import re

import cv2
import numpy as np
import pytest
from browsing import browser as browser
from viewing import shown

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.images import write_image
from dd_sfm.io.scene import SceneImage
from dd_sfm.viz.browser.serve import served
from dd_sfm.viz.render.view_state import ViewState

CAMERA = PinholeCamera(640, 480, 520.0, 500.0, 250.0, 300.0)
PLACES = {(20, 60, 230): (100.0, 90.0), (250, 220, 30): (590.0, 400.0)}
"""Colours of discs, and the pixels at their centres."""
RADIUS = 12

pytestmark = pytest.mark.slow


@pytest.fixture
def state(tmp_path):
    grey = cv2.GaussianBlur(np.random.default_rng(0).uniform(60, 180, (480, 640)).astype(np.float32), (0, 0), 3)
    picture = np.dstack([grey.astype(np.uint8)] * 3)
    for rgb, (x, y) in PLACES.items():
        cv2.circle(picture, (int(x), int(y)), RADIUS, rgb, -1, cv2.LINE_AA)
    write_image(tmp_path / "frame.png", picture)
    images = [SceneImage(f"{k}.png", k, CAMERA, path=tmp_path / "frame.png") for k in range(5)]
    return ViewState((shown(tmp_path, images=images),), cameras=False)


def scene_picture(opened):
    """The scene (H, W, 3), and where it begins in the page."""
    box = opened.locator("canvas").first.bounding_box()
    encoded = np.frombuffer(opened.screenshot(clip=box), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB).astype(int), np.array([box["x"], box["y"]])


def disc(picture, rgb):
    """Centre (2,) and diameter of the disc of a colour, in pixels of a picture; None without one."""
    y, x = np.nonzero(abs(picture - np.array(rgb)).max(2) < 60)
    return (np.array([x.mean(), y.mean()]), np.ptp(x) + 1) if len(x) > 20 else None


def wait_for_disc(opened, rgb):
    for _ in range(60):
        opened.wait_for_timeout(500)
        picture, corner = scene_picture(opened)
        found = disc(picture, rgb)
        if found is not None:
            return found[0] + corner, found[1]
    raise AssertionError("the picture of the frame is not shown")


def test_clicks_in_the_picture_are_pixels_of_the_frame(browser, state):
    with served(state, "front", port=0) as (page, address):
        opened = browser.new_page(viewport={"width": 1100, "height": 560})
        opened.set_default_timeout(40_000)
        opened.goto(address)
        opened.get_by_text("of 400 points").wait_for()
        opened.locator(".mantine-Notification-closeButton").dispatch_event("click")
        opened.get_by_role("tab", name="Frames").click()
        opened.get_by_text("Pick two edges of an instrument").click()
        edges = page.panel.frames.edges
        for k, (rgb, place) in enumerate(PLACES.items()):
            at, diameter = wait_for_disc(opened, rgb)
            frame_px = 2 * RADIUS / diameter
            if k:
                opened.keyboard.down("Shift")
            opened.mouse.click(*np.round(at))
            opened.keyboard.up("Shift")
            opened.get_by_text(re.compile(f"edge {k + 1} at pixel")).wait_for()
            # A click is at a whole pixel of the screen, half a one away at most.
            assert abs(edges.edges[k] - place).max() < 0.75 * frame_px
        opened.get_by_text("Pick two edges of an instrument").click()
        for _ in range(100):
            if not edges.is_on:
                break
            opened.wait_for_timeout(100)
        page.settle()
        assert not edges.is_on
        assert page.nodes._clouds[0].visible
        opened.close()
