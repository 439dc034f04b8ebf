"""view, overlay and mesh from the command line: what they write, and one clear line for every bad input."""

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pycolmap
import pytest
from conftest import texture
from converting import WITHOUT_POSE, write_small_run
from plane import CAMERA, plane_model
from plyfile import PlyData

from dd_sfm.io.clouds import write_cloud, write_mesh, write_points
from dd_sfm.io.images import write_image
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.viz.window import viewer


@pytest.fixture
def run(tmp_path):
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def refused(dd_sfm):
    """Runs a command, and checks that it fails with one line that holds a text."""

    def call(*arguments, says, code=1):
        ran = dd_sfm(*arguments)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("dd-sfm: ")
        assert says in lines[0], lines[0]

    return call


@pytest.mark.parametrize("command", ["view", "overlay", "mesh"])
def test_help_has_an_example(dd_sfm, command):
    ran = dd_sfm(command, "--help")
    assert ran.code == 0
    assert f"Example: dd-sfm {command}" in ran.out


def test_a_run_without_its_cloud_is_shown_from_its_model_and_says_so(dd_sfm, run, tmp_path):
    (run / "points.ply").unlink()
    ran = dd_sfm("view", run, "--screenshot", tmp_path / "picture.png", "--size", "320x200")
    assert ran.code == 0
    assert ran.err.startswith(f"note: {run} has no points.ply")
    assert (tmp_path / "picture.png").is_file()


@pytest.mark.parametrize("view", ["front", "side", "camera:12"])
def test_a_screenshot(dd_sfm, run, tmp_path, view):
    path = tmp_path / "picture.png"
    ran = dd_sfm("view", run, "--screenshot", path, "--view", view, "--size", "320x200")
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"written: {path} (")
    picture = cv2.imread(str(path))
    assert picture.shape == (200, 320, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("suffix", [".html", ".viser"])
def test_the_scene_as_one_file_with_the_mesh_of_the_run(dd_sfm, refused, run, tmp_path, suffix):
    with_mesh, without = tmp_path / f"with{suffix}", tmp_path / f"without{suffix}"
    assert dd_sfm("view", run, "--save", without).code == 0
    rng = np.random.default_rng(0)
    xyz, corners = rng.normal(size=(900, 3)), np.arange(900).reshape(-1, 3)
    write_mesh(run / "mesh.ply", xyz, corners, xyz, rng.integers(0, 256, (900, 3)).astype(np.uint8))
    ran = dd_sfm("view", run, "--save", with_mesh, "--scale", "0.5")
    assert (ran.code, ran.err.startswith(f"written: {with_mesh} (")) == (0, True), ran.err
    assert with_mesh.stat().st_size > without.stat().st_size + 12 * 900
    refused("view", run, "--save", with_mesh, says="--overwrite", code=1)
    (run / "mesh.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n")
    ran = dd_sfm("view", run, "--save", with_mesh, "--overwrite")
    assert ran.code == 0
    assert ran.err.startswith(f"note: {run / 'mesh.ply'}: ")


def test_a_screenshot_of_two_runs_a_model_and_a_cloud(dd_sfm, run, tmp_path):
    write_points(tmp_path / "cloud.ply", plane_model(2.0).xyz, plane_model(2.0).rgb)
    sources = ([run, run / "sparse" / "0"], [run / "sparse" / "0"], [tmp_path / "cloud.ply"])
    for k, arguments in enumerate(sources):
        path = tmp_path / f"{k}.png"
        ran = dd_sfm("view", *arguments, "--screenshot", path, "--size", "200x120", "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        assert cv2.imread(str(path)).shape == (120, 200, 3)


def test_a_model_of_images_that_are_counted_from_one(dd_sfm, run, tmp_path):
    model = pycolmap.Reconstruction(str(run / "sparse" / "0"))
    for image in model.images.values():
        image.name = f"frame_{int(Path(image.name).stem) + 1:04d}.png"
    (tmp_path / "other").mkdir()
    model.write_binary(str(tmp_path / "other"))
    note = f"note: {tmp_path / 'other'}: its frame 11 is frame 10 of {run}"
    size = ("--size", "80x60")
    ran = dd_sfm("view", run, tmp_path / "other", "--screenshot", tmp_path / "a.png", *size)
    assert (ran.code, ran.err.splitlines()[0]) == (0, note)
    ran = dd_sfm("overlay", run, "--against", tmp_path / "other", "-o", tmp_path / "a.gif", "--every", 8, *size)
    assert (ran.code, ran.err.splitlines()[0]) == (0, note)
    assert "15 registered in run and 15 registered in other" in ran.err


def test_what_view_refuses(refused, run, tmp_path):
    out = tmp_path / "out.png"
    refused("view", tmp_path / "none", "--screenshot", out, says="none: not found; expected a run folder")
    refused("view", run / "frames", "--screenshot", out, says="no model found; expected sparse/0 (run)")
    write_points(tmp_path / "empty.ply", np.zeros((0, 3)), np.zeros((0, 3)))
    refused("view", tmp_path / "empty.ply", "--screenshot", out, says="the cloud has no point")
    refused(
        "view", run, "--screenshot", out, "--size", "big", says="--size big: not a size; expected WIDTHxHEIGHT", code=2
    )
    refused("view", run, "--screenshot", out, "--view", "behind", says="--view behind: unknown", code=2)
    refused(
        "view",
        run,
        "--view",
        "front,top",
        says="--view front,top: several views; expected one, or --screenshot",
        code=2,
    )
    lost = f"camera:{10 + WITHOUT_POSE}"
    refused("view", run, "--screenshot", out, "--view", lost, says=f"frame {10 + WITHOUT_POSE} has no pose in")
    refused("view", run, "--screenshot", out, "--colour", "beauty", says="--colour beauty: unknown", code=2)
    refused(
        "view", run, "--screenshot", out, "--colour", "uncertainty", says="has no such values; expected one of", code=2
    )
    refused("view", run, "--screenshot", out, "--layout", "above", says="expected beside or overlaid", code=2)
    refused(
        "view", run, "--screenshot", out, "--min-track", "999", says="no point passes --min-track 999 (the longest has"
    )
    refused("view", run, "--screenshot", tmp_path / "a.jpg", says="expected a file name that ends in .png", code=2)
    (tmp_path / "file").touch()
    refused("view", run, "--screenshot", tmp_path / "file" / "a.png", says="a.png: cannot be written")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    _renumber(other, 100)
    refused("view", run, other, "--screenshot", out, says=f"{run} and {other}: no image in common")
    assert not out.exists()
    out.write_text("mine")
    refused("view", run, "--screenshot", out, says="out.png: exists; expected a new file")
    assert out.read_text() == "mine"


@pytest.fixture
def other_video(run, tmp_path):
    """A run whose frames bear the same numbers and show something else, along another path."""
    other = tmp_path / "other"
    shutil.copytree(run, other)
    for k, path in enumerate(sorted((other / "frames").iterdir())):
        write_image(path, 255 - texture(120, 160, seed=100 + k))
    return other


def _astray(run):
    """Send the cameras of a run another way."""
    model = pycolmap.Reconstruction(str(run / "sparse" / "0"))
    rng = np.random.default_rng(0)
    for frame in model.frames.values():
        frame.set_cam_from_world(1, pycolmap.Rigid3d(pycolmap.Rotation3d(), rng.normal(size=3)))
    model.write_binary(str(run / "sparse" / "0"))


def test_view_of_two_videos(dd_sfm, refused, run, other_video, tmp_path):
    out = tmp_path / "out.png"
    differ = f"{run} and {other_video}: frames of the same number show different pictures ("
    # The same cameras: one video, undistorted in two ways, may look as different.
    ran = dd_sfm("view", run, other_video, "--screenshot", out, "--size", "64x48")
    assert ran.code == 0
    note, done = ran.err.splitlines()
    assert note.startswith(f"note: {differ}")
    assert done.startswith("written: ")
    out.unlink()
    _astray(other_video)
    refused("view", run, other_video, "--screenshot", out, says=differ)
    assert not out.exists()


def test_view_of_two_videos_whose_pictures_cannot_be_told_apart(dd_sfm, run, other_video, tmp_path):
    _astray(other_video)
    says = f"note: the cameras of {other_video} do not match those of {run}"
    for path in (other_video / "frames").iterdir():
        path.write_text("no image")
    out = ("--screenshot", tmp_path / "out.png", "--size", "64x48", "--overwrite")
    ran = dd_sfm("view", run, other_video, *out)
    assert (ran.code, ran.err.startswith(says)) == (0, True)
    shutil.rmtree(other_video / "frames")
    ran = dd_sfm("view", run, other_video, *out)
    assert (ran.code, ran.err.startswith(says)) == (0, True)


def _renumber(run, by):
    """Give the frames of a run other numbers."""
    from dd_sfm.io.scene import open_scene

    scene = open_scene(run)
    for folder, ending in (("frames", ".png"), ("masks", ".png.png")):
        for path in sorted((run / folder).iterdir(), reverse=True):
            path.rename(path.with_name(f"{int(path.name.split('.')[0]) + by:08d}{ending}"))
    for path in (run / "sparse" / "0").iterdir():
        data = path.read_bytes()
        for image in scene.images:
            data = data.replace(image.name.encode(), f"{image.number + by:08d}.png".encode())
        path.write_bytes(data)
    records = json.loads((run / "frames.json").read_text())
    for record in records["frames"]:
        record["index"] += by
    (run / "frames.json").write_text(json.dumps(records))


def test_a_window_without_a_display(refused, run, monkeypatch):
    monkeypatch.setattr("dd_sfm.cli.view.open3d_problem", lambda: "")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(viewer, "PROBE", "")
    refused(
        "view", run, "--window", says="view: no display to open a window on; expected one (DISPLAY or WAYLAND_DISPLAY)"
    )
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(viewer, "PROBE", "import sys; sys.exit(not False)")
    refused(
        "view", run, "--window", says="view: no display to open a window on; expected one (DISPLAY or WAYLAND_DISPLAY)"
    )
    monkeypatch.setattr(viewer, "PROBE", "raise SystemExit(1)")
    refused("view", run, "--window", says="Render a picture instead: --screenshot FILE.png")


def test_a_window_without_the_libraries(refused, run, monkeypatch):
    monkeypatch.setattr("dd_sfm.cli.doctor.importlib.util.find_spec", lambda name: None)
    refused("view", run, "--window", says="view: open3d, which comes with dd-sfm, is not installed (pip install open3d")
    monkeypatch.setattr("dd_sfm.cli.doctor.importlib.util.find_spec", lambda name: True)

    class Failed:
        returncode, stderr = 1, "ImportError: libusb-1.0.so.0: cannot open shared object file\n"

    monkeypatch.setattr("dd_sfm.cli.doctor.subprocess.run", lambda *a, **k: Failed)
    refused(
        "view", run, "--window", says="libusb-1.0.so.0: cannot open shared object file); on Debian: apt-get install -y"
    )


def test_a_video_that_browsers_play(dd_sfm, run, tmp_path):
    path = tmp_path / "clip.mp4"
    ran = dd_sfm("overlay", run, "-o", path)
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1].startswith(f"written: {path} (16 frames at 25 a second; of all 16, 15 registered")
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (320, 120)
        frames = [f.to_ndarray(format="rgb24") for f in clip.decode(stream)]
    assert len(frames) == 16
    # Below the label the left half is the frame as it was; H.264 keeps it to a few grey levels.
    assert np.abs(frames[5][40:, :160].astype(int) - texture(120, 160, seed=5)[40:]).mean() < 4
    halves = [np.abs(f[40:, :160].astype(int) - f[40:, 160:]).mean() for f in frames]
    assert halves[WITHOUT_POSE] < 3 < min(h for k, h in enumerate(halves) if k != WITHOUT_POSE)


def test_a_gif_of_two_runs(dd_sfm, run, tmp_path):
    path = tmp_path / "clip.gif"
    options = ("--against", run / "sparse" / "0", "--every", 4, "--fps", 5, "--size", "80x60", "--colour", "error")
    ran = dd_sfm("overlay", run, "-o", path, *options, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    with av.open(str(path)) as clip:
        frames = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
    assert [f.shape for f in frames] == [(60, 160, 3)] * 4


def test_whether_two_runs_agree_may_not_be_told(dd_sfm, run, tmp_path, monkeypatch):
    options = ("-o", tmp_path / "a.gif", "--against", run / "sparse" / "0", "--every", 8, "--size", "80x60")
    monkeypatch.setattr("dd_sfm.viz.render.same_video.scenes_agree", lambda *scenes: None)
    assert "too few are common" in dd_sfm("overlay", run, *options).err
    monkeypatch.setattr("dd_sfm.viz.render.same_video.scenes_agree", lambda *scenes: False)
    assert "do not match those of" in dd_sfm("overlay", run, *options, "--overwrite").err


@pytest.mark.parametrize(
    ("times", "every", "rate"),
    [
        ([0, 0.04, 0.08, 0.2], 1, 25),
        ([0, 0.04, 0.08], 2, 12.5),
        ([0, 1, 2], 1, 5),
        ([0, 0.001, 0.002], 1, 60),
        ([], 1, 15),
    ],
)
def test_the_video_has_the_speed_of_its_source(times, every, rate):
    from types import SimpleNamespace

    from dd_sfm.cli.overlay import source_rate

    scene = SimpleNamespace(images=[SimpleNamespace(time_s=t) for t in times])
    assert source_rate(scene, every) == pytest.approx(rate)


def test_what_overlay_refuses(refused, run, tmp_path):
    out = tmp_path / "clip.mp4"
    refused(
        "overlay",
        run,
        "-o",
        tmp_path / "clip.avi",
        says="clip.avi: expected a file name that ends in .mp4 or .gif",
        code=2,
    )
    refused("overlay", run / "frames", "-o", out, says="no model found")
    refused("overlay", run, "-o", out, "--size", "12", says="--size 12: not a size; expected WIDTHxHEIGHT", code=2)
    refused("overlay", run, "-o", out, "--colour", "beauty", says="expected one of depth, error, photo", code=2)
    (tmp_path / "file").touch()
    refused("overlay", run, "-o", tmp_path / "file" / "a.mp4", says="a.mp4: cannot be written")
    refused("overlay", run, "-o", tmp_path / "none" / "a.gif", says="a.gif: cannot be written")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    _renumber(other, 100)
    refused("overlay", run, "-o", out, "--against", other, says=f"{run} and {other}: no image in common")
    shutil.copytree(run / "sparse" / "0", tmp_path / "model")
    refused("overlay", tmp_path / "model", "-o", out, says="15 of 15 images not found")
    (run / "frames" / "00000014.png").write_text("no image")
    refused("overlay", run, "-o", out, says="00000014.png: not an image that can be decoded")
    assert not list(tmp_path.glob("clip*"))
    out.write_text("mine")
    refused("overlay", run, "-o", out, says="clip.mp4: exists; expected a new file")
    assert out.read_text() == "mine"


def test_a_mesh(dd_sfm, tmp_path):
    model = plane_model(1.0)
    run = tmp_path / "run"
    run.mkdir()
    write_cloud(run / "points.ply", to_cloud(model))
    ran = dd_sfm("mesh", run)
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"written: {run / 'mesh.ply'} (")
    content = PlyData.read(run / "mesh.ply")
    vertex = content["vertex"].data
    assert vertex["z"] == pytest.approx(20, abs=1.0)
    assert np.median(np.abs(vertex["z"] - 20)) < 0.02
    # The plane's front is towards the cameras, which look along z.
    assert np.median(vertex["nz"]) < -0.95
    assert f"{len(vertex):,} vertices, {len(content['face'].data):,} faces" in ran.err
    looked = dd_sfm("view", run / "mesh.ply", "--screenshot", tmp_path / "mesh.png", "--size", "64x48")
    assert f"({len(vertex):,} of {len(vertex):,} vertices)" in looked.err
    assert dd_sfm("mesh", run).code == 1
    coarse = ("mesh", run / "points.ply", "-o", tmp_path / "mesh.ply", "--depth", 5, "--trim", 0.1)
    assert dd_sfm(*coarse).code == 0
    scaled = dd_sfm(*coarse, "--overwrite", "--scale", "0.5")
    assert "square mm" in scaled.err
    content = PlyData.read(tmp_path / "mesh.ply")
    assert np.median(content["vertex"]["z"]) == pytest.approx(10, abs=0.5)
    assert content.comments[1:3] == ["unit: mm", "scale: 0.5 mm a unit of the reconstruction"]


def test_a_mesh_of_a_model(dd_sfm, tmp_path):
    from plane import write_run

    ran = dd_sfm("mesh", write_run(tmp_path / "model", plane_model(1.0)), "-o", tmp_path / "mesh.ply")
    assert ran.code == 0, ran.err
    assert len(PlyData.read(tmp_path / "mesh.ply")["vertex"].data) > 100


def test_what_mesh_refuses(refused, run, tmp_path):
    refused("mesh", tmp_path / "none", says="none: not found")
    refused("mesh", run / "frames", says="no model found")
    corners, faces = np.eye(3), np.array([[0, 1, 2], [2, 1, 0]])
    write_mesh(tmp_path / "surface.ply", corners, faces, corners)
    says = "surface.ply: already a mesh, of 2 faces; expected a cloud"
    refused("mesh", tmp_path / "surface.ply", "-o", tmp_path / "again.ply", says=says)
    write_points(tmp_path / "empty.ply", np.zeros((0, 3)), np.zeros((0, 3)))
    out = tmp_path / "out.ply"
    refused("mesh", tmp_path / "empty.ply", "-o", out, says="the cloud has 0 points; expected at least 100")
    refused("mesh", tmp_path / "empty.ply", says="empty.ply: a file; expected -o FILE.ply", code=2)
    refused("mesh", run, "--scale", 0.3, says="--scale: expected -o FILE.ply with it", code=2)
    write_points(tmp_path / "bare.ply", plane_model(1.0).xyz, plane_model(1.0).rgb)
    refused("mesh", tmp_path / "bare.ply", "-o", out, says="the cloud has no normals (nx, ny, nz)")
    refused("mesh", run, "-o", tmp_path / "out.obj", says="expected a file name that ends in .ply", code=2)
    write_image(tmp_path / "file.png", texture(CAMERA.height, CAMERA.width))
    refused("mesh", tmp_path / "bare.ply", "-o", tmp_path / "file.png" / "m.ply", says="m.ply: cannot be written")
    assert not out.exists()


def test_no_file_of_a_run_is_replaced(dd_sfm, refused, run, tmp_path):
    (run / "stages.json").write_text("{}")
    write_cloud(run / "points.ply", to_cloud(plane_model(1.0)))
    frame = run / "frames" / "00000014.png"
    before = {path: path.read_bytes() for path in (run / "points.ply", frame)}
    says = f"belongs to the run in {run}; expected another file. Choose one with"
    other = write_model_folder(tmp_path / "model")
    refused("mesh", other, "-o", run / "points.ply", "--overwrite", says=says)
    for name in ("frames/00000014.png", "frames/00000099.png", "evaluation/errors.png", "field_of_view.png"):
        refused("view", run, "--screenshot", run / name, "--overwrite", says=says)
    (tmp_path / "link").symlink_to(run / "frames")
    refused("view", run, "--screenshot", tmp_path / "link" / frame.name, "--overwrite", says=says)
    refused("bench", "-o", run / "metrics.json", says=says)
    refused("evaluate", "matching", run, "-o", run / "frames.json", "--overwrite", says=says)
    assert {path: path.read_bytes() for path in before} == before
    # What is beside them is the user's.
    for name in ("side.png", "evaluation.png", "frames/mine.png"):
        assert dd_sfm("view", run, "--screenshot", run / name, "--size", "64x48", "--quiet").code == 0
    for _ in range(2):
        assert dd_sfm("mesh", run, "--overwrite", "--quiet").code == 0
    assert dd_sfm("mesh", run, "-o", run / "again.ply", "--quiet").code == 0


def write_model_folder(folder):
    from plane import write_run

    return write_run(folder, plane_model(1.0))


def test_a_frame_folder_that_is_a_link_is_the_runs_too(refused, run, tmp_path):
    (run / "stages.json").write_text("{}")
    (run / "frames").rename(tmp_path / "big_disk")
    (run / "frames").symlink_to(tmp_path / "big_disk")
    name = "00000014.png"
    refused("view", run, "--screenshot", run / "frames" / name, "--overwrite", says="belongs to the run in")


def test_a_cloud_is_not_replaced_by_its_mesh(refused, tmp_path):
    cloud = tmp_path / "run" / "points.ply"
    cloud.parent.mkdir()
    write_cloud(cloud, to_cloud(plane_model(1.0)))
    before = cloud.read_bytes()
    for source in (cloud, cloud.parent):
        says = "points.ply: the cloud that is meshed; expected another file"
        refused("mesh", source, "-o", cloud, "--overwrite", says=says, code=2)
    assert cloud.read_bytes() == before


def test_a_place_where_nothing_can_be_written_is_found_before_the_work(refused, run, tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.io.scene.open_scene", lambda *_: pytest.fail("has begun"))
    refused("overlay", run, "-o", "/proc/a.mp4", says="/proc/a.mp4: cannot be written (")
    refused("overlay", run, "-o", tmp_path / f"{'a' * 250}.mp4", says=".mp4: cannot be written (File name too long)")
    refused("mesh", run, "-o", "/proc/a.ply", says="/proc/a.ply: cannot be written (")
    refused("view", run, "--screenshot", "/proc/a.png", says="/proc/a.png: cannot be written (")
