"""The page of dd-sfm view in a real browser: it draws, obeys its controls, measures, and runs no name."""

import re
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from browsing import browser as browser
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from viewing import shown

from dd_sfm.cameras import world_to_camera
from dd_sfm.viz.browser.serve import save_page, served
from dd_sfm.viz.render.view_state import ViewState

EVIL = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>{window.hit=1}"
RED, WHITE = (200, 60, 60), (255, 255, 255)
VIEWPORT = {"width": 820, "height": 420}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    cloud = shown(tmp_path_factory.mktemp("view"), label=EVIL, points=300)
    cloud = replace(cloud, rgb=np.full((300, 3), (200, 60, 60), np.uint8), error=np.full(300, 0.1))
    images = tuple(replace(image, source=EVIL) for image in cloud.images)
    return ViewState((replace(cloud, images=images, confidence={10: 0.3}),), cameras=False, point_size=0.5)


@pytest.fixture(scope="module")
def page(browser, state):
    """The served page and that in the browser; nothing may have been fetched from elsewhere or have gone wrong."""
    with served(state, "front", port=0, notes=(EVIL,)) as (served_page, address):
        opened = browser.new_page(viewport=VIEWPORT)
        opened.set_default_timeout(40_000)
        requests, problems = [], []
        opened.on("request", lambda r: requests.append(r.url))
        opened.on("pageerror", lambda e: problems.append(str(e)))
        opened.goto(address)
        opened.wait_for_selector("canvas")
        opened.get_by_text("of 300 points").wait_for()
        # Without waiting for the scene behind it, which software draws slowly.
        opened.locator(".mantine-Notification-closeButton").dispatch_event("click")
        yield served_page, opened
        assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
        assert problems == []
        opened.close()


def drawing(opened, *, until):
    """The scene (H, W, 3) once a condition holds for it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        opened.wait_for_timeout(300)
        box = opened.locator("canvas").first.bounding_box()
        encoded = np.frombuffer(opened.screenshot(clip=box), np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR).astype(int)
        if until(picture):
            return picture
    raise AssertionError(f"not what was expected: {share(picture, RED):.2%} red, {share(picture, WHITE):.2%} white")


def share(picture, rgb):
    """Share of the pixels that are near a colour."""
    return float((abs(picture[..., ::-1] - np.array(rgb)).max(2) < 40).mean())


def is_red(picture):
    return share(picture, RED) > 0.005


def test_a_saved_page_opens_without_a_network(browser, state, tmp_path):
    path = tmp_path / "scene.html"
    state.colour = "photo"
    save_page(path, state, "front")
    context = browser.new_context(viewport=VIEWPORT, offline=True)
    opened = context.new_page()
    requests = []
    opened.on("request", lambda r: requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    opened.goto(path.as_uri())
    opened.wait_for_selector("canvas", timeout=60_000)
    drawing(opened, until=is_red)
    assert "300 of 300" in opened.locator("#caption").inner_text()
    assert requests == [path.as_uri()]
    assert opened.evaluate("window.hit") is None
    context.close()


def test_colours_and_filters_change_what_is_seen(page):
    served_page, opened = page
    before = share(drawing(opened, until=is_red), RED)
    opened.get_by_role("tab", name="Filter").click()
    field = "//*[text()='Error up to [px]']/ancestor::*[.//input][1]//input[not(@type='hidden')]"
    opened.locator(field).last.fill("1")
    opened.keyboard.press("Enter")
    opened.get_by_text(re.compile(r": 1[45]\d of 300 points")).wait_for()
    drawing(opened, until=lambda p: 0 < share(p, RED) < 0.7 * before)
    opened.get_by_text("Show everything").click()
    opened.get_by_text("300 of 300 points").wait_for()
    opened.get_by_role("tab", name="Look").click()
    opened.get_by_label("Colour").click()
    opened.get_by_role("option", name="error").click()
    drawing(opened, until=lambda p: not is_red(p) and share(p, WHITE) < 0.995)
    assert opened.get_by_text("reprojection error [px]").is_visible()
    assert served_page.state.colour == "error"


def test_two_clicks_give_the_distance(page):
    served_page, opened = page
    opened.get_by_role("tab", name="Measure").click()
    state = served_page.state
    (client,) = served_page.server.get_clients().values()
    camera = client.camera
    xyz = state.clouds[0].xyz
    alone = cKDTree(xyz).query(xyz, k=2)[0][:, 1] * (abs(xyz[:, :2] - [1, 0]) < 2.5).all(1)
    points = np.argsort(-alone)[:2]
    rotation = Rotation.from_quat(np.roll(camera.wxyz, -1)).as_matrix().T
    local = world_to_camera(xyz[points], np.column_stack([rotation, -rotation @ camera.position]))
    focal = camera.image_height / 2 / np.tan(camera.fov / 2)
    box = opened.locator("canvas").first.bounding_box()
    for x, y, z in local:
        opened.keyboard.down("Shift")
        opened.mouse.click(box["x"] + box["width"] / 2 + focal * x / z, box["y"] + box["height"] / 2 + focal * y / z)
        opened.keyboard.up("Shift")
        opened.wait_for_timeout(500)
    distance = float(np.linalg.norm(np.diff(xyz[points], axis=0)))
    opened.get_by_text(f"distance: {distance:.4g} ± 0.14 scene units").wait_for()
    assert state.picks == [(0, int(k)) for k in points]


def test_frames_are_stepped_through_and_no_name_runs(page):
    _, opened = page
    opened.get_by_role("tab", name="Frames").click()
    opened.get_by_text("frame 10 (1 of 5)").wait_for()
    assert opened.get_by_text("frames 10.").is_visible()
    opened.get_by_role("button", name="on", exact=True).click()
    opened.get_by_text("frame 11 (2 of 5)").wait_for()
    assert opened.get_by_text("<img src=x").count() > 0
    assert opened.evaluate("window.hit") is None
