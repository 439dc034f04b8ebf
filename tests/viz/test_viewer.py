"""The window itself, on a virtual screen, in a process of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from converting import write_small_run

from dd_sfm.cli.doctor import open3d_problem
from dd_sfm.viz.render.view_state import COLOURS
from dd_sfm.viz.window.keys import KEYS, VIEW_KEYS, help_text
from dd_sfm.viz.window.viewer import MAX_DRAW_S, Window

DRIVE = """
import sys
from pathlib import Path
import numpy as np
from dd_sfm.io.images import write_image
from dd_sfm.viz.render.cloud_view import align_cloud_view, open_cloud_view
from dd_sfm.viz.window.keys import KEYS
from dd_sfm.viz.render.view_state import ViewState
from dd_sfm.viz.window.viewer import Window

run, out = Path(sys.argv[1]), Path(sys.argv[2])
first = open_cloud_view(run)
second, _ = align_cloud_view(open_cloud_view(run / "sparse" / "0"), first)
state = ViewState((first, second), mm_per_unit=2.0, point_size=3.0)
window = Window(state, "front", 400, 300, print)
keys = {key.letter: key for key in KEYS}

def shot(name):
    write_image(out / f"{name}.png", window.capture())

shot("start")
for name in ("C", "E", "T", "S", "O", "A", "A", "A", "K", "I", "B", "X", "U"):
    window.press(keys[name])
    window.capture()
    window.press(keys[name], -1)
window.press(keys["R"])
before = window.orbit.axes
window.button(0, 1, 0)
window.move(50, 20)
window.button(0, 0, 0)
assert np.abs(window.orbit.axes - before).max() > 0.1
window.scroll(2)
full = window.shapes.point_count
window.seconds_per_point = 1.0
window.button(0, 1, 0)
assert window.shapes.point_count < 0.2 * full
window.button(0, 0, 0)
assert window.shapes.point_count == full
window.seconds_per_point = 0.0
shot("turned")
window.look_from("front")
shot("front")
window.press(keys["N"])
pose = window.visualizer.get_view_control().convert_to_pinhole_camera_parameters().extrinsic[:3]
assert np.allclose(pose, first.cam_from_world[0], atol=1e-6), pose
shot("camera")
view = window.orbit.viewpoint
for k in (0, 20):
    local = view.cam_from_world[:, :3] @ first.xyz[k] + view.cam_from_world[:, 3]
    x, y = local[:2] / local[2] * view.camera.fx + [view.camera.cx, view.camera.cy]
    window.move(x, y)
    window.button(0, 1, 1)
    window.button(0, 0, 1)
window.pick(-500, -500)
expected = 2 * np.linalg.norm(first.xyz[20] - first.xyz[0])
assert abs(2 * state.measured().value - expected) < 1e-9 * expected, (state.picks, expected)
shot("picked")
"""

needs_screen = pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb-run for a virtual screen")


def test_every_key_does_one_thing_and_is_explained():
    letters = [key.letter for key in KEYS] + [*VIEW_KEYS, "H", "P", "Q"]
    assert len(set(letters)) == len(letters)
    for key in KEYS:
        assert key.text in help_text()
    assert all(name in next(k.text for k in KEYS if k.letter == "C") for name in COLOURS)


class Thinned:
    """As many points as the shapes of a window have, without a window."""

    def __init__(self, count):
        self.count = self.point_count = count

    def update_points(self, every=1):
        self.point_count = len(range(0, self.count, every))
        return []


@pytest.mark.parametrize("released", [(0, 2), (2, 0)])
def test_a_second_button_pressed_meanwhile_leaves_the_points_whole(released):
    window = object.__new__(Window)
    window.shapes, window.seconds_per_point = Thinned(1000), 10 * MAX_DRAW_S / 1000
    window._pointer, window._button, window._every = (0.0, 0.0), -1, 1
    window.button(0, 1, 0)
    window.button(2, 1, 0)
    assert window.shapes.point_count == 100
    for button in released:
        window.button(button, 0, 0)
        assert window.shapes.point_count in (100, 1000)
    assert window.shapes.point_count == 1000
    window.button(2, 1, 0)
    assert window.shapes.point_count == 100


@needs_screen
def test_the_window_shows_what_the_state_says(tmp_path):
    if importlib.util.find_spec("open3d") is None or open3d_problem():
        pytest.skip("needs open3d and its system libraries")
    write_small_run(tmp_path / "run")
    script = tmp_path / "drive.py"
    script.write_text(DRIVE)
    command = ["xvfb-run", "-a", "-s", "-screen 0 800x600x24", sys.executable, script, tmp_path / "run", tmp_path]
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    if "No display" in ran.stdout + ran.stderr:
        pytest.skip("the virtual screen has no OpenGL")
    assert ran.returncode == 0, ran.stderr[-2000:]
    for line in (
        "colour: error",
        "runs: side by side",
        "clip box: right side",
        "camera: frame 10 (1 of 15)",
        "view: front",
    ):
        assert line in ran.stdout, line
    assert "no point here" in ran.stdout
    assert " mm\n" in ran.stdout
    shots = {
        name: cv2.imread(str(tmp_path / f"{name}.png")) for name in ("start", "turned", "front", "camera", "picked")
    }
    for name, picture in shots.items():
        assert picture.shape == (300, 400, 3)
        assert (picture.min(2) < 200).mean() > 0.002, name
    differ = {name: (np.abs(shots[name].astype(int) - shots["start"]).max(2) > 30).mean() for name in shots}
    assert differ["turned"] > 0.005
    assert differ["camera"] > 0.005
    green = (shots["picked"].astype(int) - [90, 160, 20]).__abs__().max(2) < 12
    assert green.sum() > 10
