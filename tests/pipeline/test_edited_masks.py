"""Masks of a run that the user edits: they are used, and never lost."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import moving_frames, write_video

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_mask, write_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.io.working import working_grid
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import silent
from dd_sfm.structures import Frame, FrameSet


@pytest.fixture
def request_of(tiny_clip, tmp_path):
    def call(*overrides, **more):
        config = load_config(Config, None, ["runtime.device=cpu", "features=sift", *overrides])
        return replace(RunRequest(tiny_clip, tmp_path / "run", config, "100,100,80,60", last="frames"), **more)

    return call


def go(request):
    said = []
    run(request, silent, said.append)
    return said


def edit(out, number, name="{:08d}.png.png"):
    """Paint an instrument black."""
    path = out / "masks" / name.format(number)
    mask = read_mask(path).astype(np.uint8) * 255
    mask[50:70, 60:100] = 0
    cv2.imwrite(str(path), mask)
    return mask > 0


def mask(out, number, name="{:08d}.png.png"):
    return read_mask(out / "masks" / name.format(number))


def test_stages_after_the_frames_are_done_again_with_edited_masks(request_of):
    request = request_of("frames.end=5", last="match")
    go(request)
    assert go(request) == ["frames: done before", "describe: done before", "match: done before"]
    edited = edit(request.out, 3)
    replaced = "made with other settings or masks; replaced, and what later stages made with it"
    again = [f"describe: {replaced}", "describe ...", "match ..."]
    assert go(request) == ["frames: done before", "masks: 1 edited by hand", *again]
    assert (mask(request.out, 3) == edited).all()
    assert go(request)[-1] == "match: done before"
    # Other settings of later stages leave them alone.
    said = go(request_of("frames.end=5", "sift.overlap=5", last="match"))
    assert said == [
        "frames: done before",
        "masks: 1 edited by hand",
        "describe: done before",
        f"match: {replaced}",
        "match ...",
    ]
    assert (mask(request.out, 3) == edited).all()


def test_what_is_covered_in_the_frames_looked_at_first_is_not_cut_off(tmp_path):
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "field_of_view.png", np.ones((120, 160), bool))
    frames = []
    for k in range(16):
        usable = np.ones((120, 160), bool)
        usable[:, : 80 * (k % 2 == 0)] = False
        path = tmp_path / "masks" / f"{k:08d}.png.png"
        write_mask(path, usable)
        frames.append(Frame(k, tmp_path, path, 0.0))
    camera = PinholeCamera(160, 120, 100, 100, 80, 60)
    grid = working_grid(FrameSet(tuple(frames), camera, 500), Config(), 2)
    assert (grid.width, grid.height) == (160, 120)


@pytest.mark.slow
def test_features_come_from_what_is_left_by_the_edited_mask(request_of):
    request = request_of(last="match")
    go(request)
    cv2.imwrite(str(request.out / "masks" / "00000003.png.png"), np.zeros((120, 160), np.uint8))
    go(request)
    with np.load(request.out / "tracks.npz") as tracks:
        assert set(tracks["frame"]) == set(range(12)) - {3}


@pytest.mark.slow
def test_a_learned_run_with_an_edited_mask_that_leaves_nothing(request_of):
    request = request_of("features=learned", last="match")
    go(replace(request, last="frames"))
    cv2.imwrite(str(request.out / "masks" / "00000004.png.png"), np.zeros((120, 160), np.uint8))
    go(request)
    with np.load(request.out / "tracks.npz") as tracks:
        assert set(tracks["frame"]) == set(range(12)) - {4}


def test_edited_masks_are_put_back_when_frames_are_made_anew(request_of):
    out = request_of().out
    go(request_of())
    edited = {number: edit(out, number) for number in (3, 4)}
    go(request_of("masks.highlight_level=240"))
    assert all((mask(out, number) == found).all() for number, found in edited.items())
    assert not (out / "masks_edited").exists()
    assert go(request_of("masks.highlight_level=240"))[1] == "masks: 2 edited by hand"


def test_edited_masks_of_frames_that_are_not_used_wait_for_them(request_of):
    out = request_of().out
    go(request_of())
    edited = {number: edit(out, number) for number in (3, 4)}
    go(request_of("frames.every=2"))
    assert (mask(out, 4) == edited[4]).all()
    assert sorted(p.name for p in (out / "masks_edited").iterdir()) == ["00000003.png.png", "of.json"]
    (note,) = read_frames(out).notes
    assert note.text.startswith("1 edited masks are of frames that are not used")
    # Frames are then stored in another format, so that masks have other names.
    go(request_of("frames.format=jpg"))
    name = "{:08d}.jpg.png"
    assert all((mask(out, number, name) == found).all() for number, found in edited.items())
    assert not (out / "masks_edited").exists()
    assert read_frames(out).notes == ()


def test_edited_masks_of_frames_that_are_undistorted_otherwise_are_kept_aside(request_of, tmp_path):
    out = request_of().out
    go(request_of())
    edited = edit(out, 3)
    camera = tmp_path / "cameras.txt"
    camera.write_text("1 OPENCV 160 120 100 100 80 60 -0.25 0 0 0\n")
    go(request_of(calibration=str(camera)))
    assert mask(out, 3)[60, 80]
    assert (read_mask(out / "masks_edited" / "00000003.png.png") == edited).all()
    other = edit(out, 5)
    go(request_of("frames.every=2"))
    assert (mask(out, 3 - 1)).any()
    # Back to the first frames: the first edit returns, the other one waits.
    go(request_of())
    assert (mask(out, 3) == edited).all()
    assert mask(out, 5)[60, 80]
    (waiting,) = out.glob("masks_edited*")
    assert (read_mask(waiting / "00000005.png.png") == other).all()


def test_starting_over_keeps_a_copy_of_edited_masks(request_of, tmp_path):
    out = request_of().out
    for k in range(2):
        go(request_of())
        edited = edit(out, 3)
        go(request_of(overwrite=True))
        assert mask(out, 3)[60, 80]
        folder = out / ("masks_overwritten", "masks_overwritten_2")[k]
        assert (read_mask(folder / "00000003.png.png") == edited).all()
    # They fit --mask as they are.
    go(request_of(mask=folder))
    assert (mask(out, 3) == edited).all()


def test_another_clip_does_not_get_the_edited_masks_of_this_one(request_of, tmp_path):
    request = request_of()
    go(request)
    edit(request.out, 3)
    other = write_video(tmp_path / "other.avi", moving_frames(8))
    go(request_of(source=other, overwrite=True))
    assert mask(request.out, 3)[60, 80]


def test_edited_masks_that_cannot_be_used_are_named(request_of):
    request = request_of()
    go(request)
    path = request.out / "masks" / "00000002.png.png"
    cv2.imwrite(str(path), np.zeros((60, 80), np.uint8))
    with pytest.raises(InputError, match=r"00000002.png.png: 80x60 pixels; expected 160x120, as the frames in"):
        go(request)
    path.write_text("no image")
    with pytest.raises(InputError, match=r"00000002.png.png: not an image that can be decoded"):
        go(request)
    path.unlink()
    with pytest.raises(InputError, match=r"00000002.png.png: missing; expected the mask of a frame"):
        go(request)
    with pytest.raises(InputError, match="Masks that are edited there are used without --mask"):
        go(request_of(mask=request.out / "masks"))


def test_a_run_of_an_older_version_has_no_edited_masks(request_of):
    request = request_of()
    go(request)
    stages = json.loads((request.out / "stages.json").read_text())
    (request.out / "masks.json").unlink()
    edit(request.out, 3)
    assert go(request) == ["frames: done before"]
    assert json.loads((request.out / "stages.json").read_text()) == stages
