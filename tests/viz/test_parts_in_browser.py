"""Meshes and cameras of the page, and what its button saves, in a real browser."""

import re

import cv2
import numpy as np
import pytest
from browsing import browser as browser
from scipy.spatial.transform import Rotation
from viewing import CAMERA, shown, write_wall

from dd_sfm.cameras import camera_centres, pose_at
from dd_sfm.io.images import write_image
from dd_sfm.io.scene import SceneImage
from dd_sfm.viz.browser.serve import save_page, served
from dd_sfm.viz.render.view_state import ViewState

BLUE, GREEN = (20, 60, 230), (20, 200, 40)
VIEWPORT = {"width": 820, "height": 500}
CLOSE = ".mantine-Notification-closeButton"

pytestmark = pytest.mark.slow


@pytest.fixture
def state(tmp_path):
    """A wall of white points with a blue mesh, seen by two cameras far apart whose pictures are green."""
    path = tmp_path / "frame.png"
    write_image(path, np.full((120, 160, 3), GREEN, np.uint8))
    images = [SceneImage(f"{k}.png", k, CAMERA, path=path) for k in (30, 34)]
    cloud = shown(tmp_path, count=2, images=images)
    cloud.rgb[:] = 255
    cloud.cam_from_world[1, 0, 3] = -3.0
    write_wall(cloud.source, rgb=BLUE)
    return ViewState((cloud,), point_size=0.3)


def scene_picture(opened):
    """The scene (H, W, 3)."""
    box = opened.locator("canvas").first.bounding_box()
    encoded = np.frombuffer(opened.screenshot(clip=box), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB).astype(int)


def wait_for_share(opened, channel, low, high=1.0):
    """Wait until so large a share of the scene has a colour in which a channel of RGB stands out."""
    for _ in range(120):
        opened.wait_for_timeout(300)
        picture = scene_picture(opened)
        others = np.delete(picture, channel, axis=2).max(2)
        share = float((picture[..., channel] > others + 40).mean())
        if low <= share <= high:
            return
    raise AssertionError(f"a share of {share:.2%} of the scene, expected {low:.2%} to {high:.2%}")


def test_the_mesh_is_switched_on_in_a_saved_page(browser, state, tmp_path):
    state.cameras = False
    save_page(tmp_path / "scene.html", state, "front")
    opened = browser.new_page(viewport=VIEWPORT)
    opened.set_default_timeout(40_000)
    opened.goto((tmp_path / "scene.html").as_uri())
    opened.wait_for_selector("canvas")
    opened.locator(CLOSE).dispatch_event("click")
    wait_for_share(opened, 2, 0.0, 0.01)
    opened.get_by_label("Show scene tree").first.click()
    opened.locator("[data-scene-node='/mesh'] .tabler-icon-eye-off").click()
    wait_for_share(opened, 2, 0.3)
    opened.close()


@pytest.fixture
def page(browser, state):
    with served(state, "oblique", port=0) as (served_page, address):
        opened = browser.new_page(viewport=VIEWPORT)
        opened.set_default_timeout(40_000)
        opened.goto(address)
        opened.get_by_text("of 400 points").wait_for()
        opened.locator(CLOSE).dispatch_event("click")
        yield served_page, opened
        opened.close()


def test_the_list_draws_the_mesh(page):
    _, opened = page
    wait_for_share(opened, 2, 0.0, 0.01)
    opened.get_by_label("Surface").click()
    opened.get_by_role("option", name="mesh").click()
    wait_for_share(opened, 2, 0.05)


def test_a_click_on_a_camera_goes_to_its_frame(page):
    served_page, opened = page
    wait_for_share(opened, 1, 0.0002)
    opened.get_by_role("tab", name="Frames").click()
    opened.get_by_text("frame 30 (1 of 2)").wait_for()
    state, (client,) = served_page.state, served_page.server.get_clients().values()
    pose, seen = state.clouds[0].cam_from_world[1], client.camera
    place = camera_centres(pose[None])[0] + 0.9 * state.frustum_depth() * pose[2, :3]
    rotation = Rotation.from_quat(np.roll(seen.wxyz, -1)).as_matrix().T
    local = pose_at(rotation, seen.position) @ np.append(place, 1)
    focal = seen.image_height / 2 / np.tan(seen.fov / 2)
    box = opened.locator("canvas").first.bounding_box()
    opened.mouse.click(*(focal * local[:2] / local[2] + [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]))
    opened.get_by_text("frame 34 (2 of 2)").wait_for()
    served_page.settle()
    # It looks through that camera then.
    for _ in range(100):
        if abs(client.camera.position - camera_centres(pose[None])[0]).max() < 1e-3:
            return
        opened.wait_for_timeout(200)
    raise AssertionError(f"it looks from {client.camera.position}")


def test_the_button_saves_what_is_seen(page, tmp_path):
    _, opened = page
    with opened.expect_download() as download:
        opened.get_by_text("Save as one file").click()
    assert download.value.suggested_filename == f"{page[0].state.clouds[0].label}.html"
    download.value.save_as(tmp_path / "saved.html")
    text = (tmp_path / "saved.html").read_text()
    assert re.search(r"400 of 400", text.split('id="caption"')[1])
    assert "__VISER_EMBED_DATA__" in text
