"""Runs that share tissue become one run; others are refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from converting import write_small_run
from plane import CAMERA, plane_model
from scipy.spatial.transform import Rotation

import dd_sfm as package
from dd_sfm.cameras import camera_centres
from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask, write_image, write_mask
from dd_sfm.io.run_folder import ExtractedFrames, load_frames, read_frames, write_frames
from dd_sfm.io.scene import open_scene, scene_uncertainty
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.merge import _Merging, placed_as
from dd_sfm.pipeline.merged_frames import canvas_for, write_merged_frames
from dd_sfm.pipeline.reopened import Reopened, at_angle
from dd_sfm.progress import silent
from dd_sfm.sfm.geometry import similarity
from dd_sfm.structures import FrameRecord

DEMOS = Path(__file__).parents[2] / "demo_videos"


def reopened(folder, camera, count=2):
    """A run with frames of a camera, of one shade each, and a white pixel at its principal point."""
    folder.mkdir()
    records = tuple(FrameRecord(k, k / 25, 1.0) for k in range(count))
    write_frames(
        folder,
        ExtractedFrames("clip.mp4", camera.width, camera.height, 25.0, count, camera, None, 100, "png", records),
    )
    for frame in load_frames(folder).frames:
        image = np.full((camera.height, camera.width, 3), 40, np.uint8)
        image[round(camera.cy), round(camera.cx)] = 255
        for path in (frame.path, frame.mask_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_image(frame.path, image)
        write_mask(frame.mask_path, np.ones(image.shape[:2], bool))
    model = replace(plane_model(5.0), camera=camera)
    return Reopened(folder, Config(), load_frames(folder), model)


def test_frames_of_two_lenses_get_one_camera_and_names_of_their_runs(tmp_path):
    narrow = replace(CAMERA, width=160, height=120, fx=200.0, fy=200.0, cx=80.0, cy=60.0)
    wide = replace(CAMERA, width=120, height=100, fx=100.0, fy=100.0, cx=60.0, cy=50.0)
    runs = [reopened(tmp_path / "a", wide), reopened(tmp_path / "b", narrow)]
    canvas = canvas_for(runs)
    assert canvas.base == 1
    # From centre to centre 119 pixels of the wide frames are 238 of the narrow ones, some 40 beyond each rim.
    assert canvas.camera.size == (239, 199)
    assert np.allclose(canvas.camera.focal, 200.0)
    assert np.allclose(canvas.maps[0].xy(wide.principal_point), canvas.camera.principal_point)
    write_merged_frames(runs, canvas, tmp_path / "out", [], silent)
    frames = load_frames(tmp_path / "out")
    assert [frame.path.name for frame in frames.frames] == [
        "a_00000000.png", "a_00000001.png", "b_00000000.png", "b_00000001.png"
    ]  # fmt: skip
    assert [frame.index for frame in frames.frames] == [0, 1, 2, 3]
    assert [len(piece) for piece in frames.pieces] == [2, 2]
    assert read_frames(tmp_path / "out").sources == ("a", "b")
    x, y = (round(float(value)) for value in canvas.camera.principal_point)
    for frame in frames.frames:
        image, mask = read_image(frame.path), read_mask(frame.mask_path)
        assert image.shape == (199, 239, 3)
        assert image[y, x].min() > 200
        assert image[y, x + 20].max() == 40
        assert mask[y, x]
    assert not read_mask(frames.frames[2].mask_path)[:, 0].any()
    assert read_mask(frames.frames[0].mask_path)[y, 5]


def test_frames_of_one_camera_are_copied_as_they_are(tmp_path):
    runs = [reopened(tmp_path / name, CAMERA) for name in ("a", "b")]
    canvas = canvas_for(runs)
    assert canvas.camera == CAMERA
    write_merged_frames(runs, canvas, tmp_path / "out", [], silent)
    copied, source = tmp_path / "out/frames/b_00000001.png", tmp_path / "b/frames/00000001.png"
    assert copied.read_bytes() == source.read_bytes()
    # Masks may be edited in place, in one run without the others.
    assert not copied.samefile(source)
    assert all(mask.stat().st_nlink == 1 for mask in (tmp_path / "out/masks").iterdir())


@pytest.mark.parametrize("twice", [2, 1, 0])
def test_pictures_that_both_runs_hold_are_told(tmp_path, twice):
    runs = tuple(reopened(tmp_path / name, CAMERA) for name in ("a", "b"))
    # The frames of these runs are all alike.
    for k, frame in enumerate([*runs[0].frames.frames, *runs[1].frames.frames[twice:]]):
        write_image(frame.path, np.full((CAMERA.height, CAMERA.width, 3), 60 + k, np.uint8))
    for ours, theirs in zip(runs[0].frames.frames[:twice], runs[1].frames.frames, strict=False):
        shutil.copy(ours.path, theirs.path)
    merging = _Merging(SimpleNamespace(), runs, tmp_path, None, silent, None)
    told = [note.text for note in merging._frame_notes() if note.code is NoteCode.FRAMES_IN_BOTH_RUNS]
    assert [text.split(", ")[1].split(" ")[0] for text in told] == ([str(twice)] if twice else [])


def test_a_joined_model_stays_where_the_first_run_was():
    model = plane_model()
    before = {k: model.cam_from_world[k] for k in sorted(model.cam_from_world)[:-1]}
    turned = Rotation.from_euler("xyz", [0.1, -0.2, 0.3]).as_matrix()
    # x = R X + t is the same place from Y = 2 T X + s.
    crept = {
        k: np.column_stack([p[:, :3] @ turned.T, 2 * p[:, 3] - p[:, :3] @ turned.T @ [1, 2, 3]])
        for k, p in model.cam_from_world.items()
    }
    found = placed_as(replace(model, cam_from_world=crept, xyz=2 * model.xyz @ turned.T + [1, 2, 3]), before)
    assert found.xyz == pytest.approx(model.xyz)
    for k, pose in model.cam_from_world.items():
        assert found.cam_from_world[k] == pytest.approx(pose)


def test_what_cannot_be_merged_is_told_in_a_line(dd_sfm, tmp_path):
    run = tmp_path / "run"
    write_small_run(run)
    ran = dd_sfm("merge", run, run, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "the run is not finished" in ran.err
    with pytest.raises(InputError, match="not found; expected the folder of a run"):
        package.merge(tmp_path / "none", run, tmp_path / "out")


def reconstructed(clip, out, first, end):
    settings = {"frames.every": 2, "frames.start": first, "frames.end": end}
    config = package.configure("preview", settings)
    return package.reconstruct(DEMOS / clip / "clip.mp4", out, config, calibration=DEMOS / clip / "calibration.txt")


@pytest.mark.slow
def test_pieces_of_a_video_become_one_run_and_those_of_two_do_not(tmp_path, dd_sfm):
    first = reconstructed("sinus", tmp_path / "a", 0, 45)
    second = reconstructed("sinus", tmp_path / "b", 21, 66)
    shutil.rmtree(second.path / "descriptors")
    out = tmp_path / "out"
    ran = dd_sfm("merge", first.path, second.path, "-o", out)
    assert ran.code == 0, ran.err
    both = package.open_run(out)
    joined = json.loads((out / "metrics.json").read_text())["joined"]
    assert joined["frames"] == [len(first.poses), len(second.poses)]
    assert both.metrics["frames_registered"] == sum(joined["frames"])
    assert joined["scale_error"] < 0.05
    assert (out / "report.html").is_file()
    assert NoteCode.FRAMES_IN_BOTH_RUNS not in {note.code for note in both.notes}
    xyz = open_scene(out).model.xyz
    assert both.points.xyz == pytest.approx(xyz, abs=1e-5 * np.ptp(xyz))
    assert np.isfinite(scene_uncertainty(open_scene(out))).all()
    offset = both.frames[len(first.frames)].index
    numbers = [*first.poses, *second.poses]
    assert list(both.poses) == [*first.poses, *(offset - 21 + number for number in second.poses)]
    truth = np.load(DEMOS / "sinus" / "truth.npz")["c"][numbers]
    centres = camera_centres(np.stack(list(both.poses.values())))
    scale, turn, shift = similarity(centres, truth)
    path = np.linalg.norm(np.diff(truth, axis=0), axis=1).sum()
    assert np.linalg.norm(scale * centres @ turn.T + shift - truth, axis=1).max() < 0.01 * path
    other = reconstructed("colon", tmp_path / "c", 0, 16)
    ran = dd_sfm("merge", first.path, other.path, "-o", tmp_path / "none")
    assert ran.code == 1
    assert "Nothing was written" in ran.err
    assert not (tmp_path / "none").exists()


def test_frames_of_a_wide_lens_are_described_larger(tmp_path):
    wide = reopened(tmp_path / "a", replace(CAMERA, fx=100.0, fy=100.0)).frames
    known = SimpleNamespace(
        config=Config(),
        frames=replace(wide, camera=replace(CAMERA, fx=200.0, fy=200.0)),
        maps=SimpleNamespace(grid=SimpleNamespace(scale=1.0)),
    )
    # Of a field 400 pixels high the network sees 500; here a pixel is twice the angle, of which it sees two.
    described = at_angle(replace(wide, field_of_view_px=400), known)
    assert described.field_of_view_px == 250
    far = replace(known.frames, camera=replace(CAMERA, fx=900.0, fy=900.0))
    assert at_angle(replace(wide, field_of_view_px=400), SimpleNamespace(**{**vars(known), "frames": far})) == replace(
        wide, field_of_view_px=160
    )
