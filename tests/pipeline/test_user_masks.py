"""Masks of single frames that the user gives in a folder."""

import cv2
import numpy as np
import pytest
from conftest import circle_mask, moving_frames

from dd_sfm.config import Config, FramesConfig, load_config
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.frames import check_source, extract_frames
from dd_sfm.pipeline.source_part import open_sources
from dd_sfm.pipeline.stages import stage_fingerprints
from dd_sfm.pipeline.user_masks import read_user_masks
from dd_sfm.progress import silent
from dd_sfm.structures import DropReason

COUNT = 12


def extracted(source, out, masks, *overrides, calibration=None):
    config = load_config(Config, None, ["camera.estimate=false", *overrides])
    check_source(source, config, calibration, masks)
    extract_frames(source, out, config, calibration=calibration, mask=masks, progress=silent)
    return read_frames(out)


def mask_of(number, size=(160, 120)):
    """Usable but for an instrument, another one in every frame."""
    mask = np.full(size[::-1], 255, np.uint8)
    mask[50:70, 40 + 5 * number : 60 + 5 * number] = 0
    return mask


def mask_folder(path, names):
    path.mkdir()
    for number, name in names.items():
        cv2.imwrite(str(path / name), mask_of(number))
    return path


def instruments(out, found):
    """By number how much of the instrument is usable in the run's masks."""
    return {
        r.index: read_mask(out / "masks" / f"{r.index:08d}.png.png")[mask_of(r.index) == 0].mean() for r in found.kept
    }


@pytest.mark.parametrize("name", ["{:08d}.png", "{:08d}.png.png", "{}.bmp", "{:08d}.jpg.png", "{:05d}.tif"])
def test_masks_are_named_by_the_number_in_a_video(tiny_clip, tmp_path, name):
    folder = mask_folder(tmp_path / "masks", {k: name.format(k) for k in range(COUNT)})
    found = extracted(tiny_clip, tmp_path / "run", folder, "frames.start=2", "frames.every=3")
    assert [r.index for r in found.kept] == [2, 5, 8, 11]
    assert set(instruments(tmp_path / "run", found).values()) == {0}
    assert found.notes == ()
    # The common field of view is found all the same.
    field = read_mask(tmp_path / "run" / "field_of_view.png")
    mask = read_mask(tmp_path / "run" / "masks" / "00000002.png.png")
    assert field.sum() == pytest.approx(circle_mask(radius=51.5).sum(), rel=0.06)
    assert not (mask & ~field).any()
    assert mask.sum() > field.sum() - 21 * 21


@pytest.mark.parametrize("name", ["{}.png", "{}.png.png", "{}.PNG", "{}.bmp.png"])
def test_masks_are_named_as_the_images_of_a_folder(tmp_path, name):
    source = tmp_path / "images"
    source.mkdir()
    for k, frame in enumerate(moving_frames(COUNT)):
        cv2.imwrite(str(source / f"f{k + 1}.bmp"), np.ascontiguousarray(frame[..., ::-1]))
    folder = mask_folder(tmp_path / "masks", {k: name.format(f"f{k + 1}") for k in range(COUNT)})
    found = extracted(source, tmp_path / "run", folder)
    assert len(found.kept) == COUNT
    assert set(instruments(tmp_path / "run", found).values()) == {0}


def test_numbers_that_are_names_of_images_are_not_taken_for_numbers_of_frames(tmp_path):
    source = tmp_path / "images"
    source.mkdir()
    for k, frame in enumerate(moving_frames(COUNT)):
        cv2.imwrite(str(source / f"{k + 1:04d}.png"), np.ascontiguousarray(frame[..., ::-1]))
    folder = mask_folder(tmp_path / "masks", {k: f"{k + 1:04d}.png" for k in range(COUNT)})
    found = extracted(source, tmp_path / "run", folder)
    assert set(instruments(tmp_path / "run", found).values()) == {0}


def test_frames_without_a_mask_use_their_field_of_view_and_this_is_said(tiny_clip, tmp_path):
    folder = mask_folder(tmp_path / "masks", {k: f"{k:08d}.png" for k in (0, 1, 2)})
    found = extracted(tiny_clip, tmp_path / "run", folder)
    usable = instruments(tmp_path / "run", found)
    assert [number for number, share in usable.items() if share == 0] == [0, 1, 2]
    assert usable[6] == 1
    (note,) = found.notes
    assert note.code is NoteCode.FRAMES_WITHOUT_MASK
    assert note.text == "9 of 12 frames have no mask in masks: all of their field of view is used"


def test_masks_are_undistorted_as_their_frames(tiny_clip, tmp_path):
    camera = tmp_path / "cameras.txt"
    camera.write_text("1 OPENCV 160 120 150 150 80 60 -0.25 0 0 0\n")
    folder = tmp_path / "masks"
    folder.mkdir()
    mask = np.full((120, 160), 255, np.uint8)
    mask[:, 110:] = 0
    for k in range(COUNT):
        cv2.imwrite(str(folder / f"{k:08d}.png"), mask)
    extracted(tiny_clip, tmp_path / "run", folder, "masks.erode_px=0", calibration=str(camera))
    columns = np.flatnonzero(read_mask(tmp_path / "run" / "masks" / "00000003.png.png")[60])
    # Barrel distortion drew the edge, 30 pixels from the centre, inwards by 30 * 0.25 * (30 / 150)^2.
    assert columns[-1] == pytest.approx(109.8, abs=0.8)


def test_a_frame_of_which_its_mask_leaves_nothing_is_dropped(tiny_clip, tmp_path):
    folder = mask_folder(tmp_path / "masks", {k: f"{k:08d}.png" for k in range(COUNT)})
    cv2.imwrite(str(folder / "00000004.png"), np.zeros((120, 160), np.uint8))
    for most in ("null", "11"):
        found = extracted(tiny_clip, tmp_path / most, folder, f"frames.max_frames={most}")
        assert [r.index for r in found.records if r.dropped is DropReason.MASKED] == [4]
        assert "frames_masked" in [note.code.value for note in found.notes]


def test_masks_that_cannot_be_used_are_refused(tiny_clip, tmp_path):
    def refused(folder, message):
        with pytest.raises(InputError, match=message):
            check_source(tiny_clip, Config(), None, folder)

    folder = mask_folder(tmp_path / "small", {k: f"{k:08d}.png" for k in range(COUNT)})
    cv2.imwrite(str(folder / "00000007.png"), mask_of(0, (80, 60)))
    refused(folder, "00000007.png: 80x60 pixels; expected 160x120, as the frames")
    refused(mask_folder(tmp_path / "others", {0: "tool.png"}), "none of 1 images is named as a frame")
    refused(mask_folder(tmp_path / "none", {}), "no image in this folder")
    twice = mask_folder(tmp_path / "twice", {0: "00000000.png", 1: "00000000.png.png"})
    refused(twice, "00000000.png and 00000000.png.png are both of one frame")
    black = tmp_path / "black"
    black.mkdir()
    cv2.imwrite(str(black / "00000000.png"), np.ones((120, 160), np.uint8))
    refused(black, "no pixel of 128 or more in any mask")
    (black / "00000000.png").write_text("no image")
    refused(black, "00000000.png: not an image that can be decoded")


def test_another_mask_in_the_folder_makes_frames_anew(tiny_clip, tmp_path):
    folder = mask_folder(tmp_path / "masks", {0: "00000000.png"})
    method = dict.fromkeys(("describe", "match", "map", "densify"))

    def fingerprint():
        return stage_fingerprints(Config(), tiny_clip, None, folder, method)["frames"]

    before = fingerprint()
    assert fingerprint() == before
    cv2.imwrite(str(folder / "00000000.png"), mask_of(3))
    assert fingerprint() != before


@pytest.fixture
def two_folders(tmp_path):
    """Folders ``left`` and ``right``, whose images are called as a run calls frames, but counted from 1."""
    for side, frames in (("left", moving_frames(COUNT)[:6]), ("right", moving_frames(COUNT)[6:])):
        (tmp_path / side).mkdir()
        for k, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / side / f"{side}_{k + 1:08d}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return tmp_path / "left", tmp_path / "right"


def test_masks_of_several_sources_are_named_as_their_images_first(two_folders, tmp_path):
    names = {k: f"{('left', 'right')[k // 6]}_{k % 6 + 1:08d}.png" for k in range(COUNT)}
    source = open_sources(two_folders, FramesConfig())
    found = read_user_masks(mask_folder(tmp_path / "masks", names), source)
    assert {number: file.name for number, file in found.files.items()} == names
    # As a run calls all frames: two masks then claim the first one.
    names = {k: f"{('left', 'right')[k // 6]}_{k % 6:08d}.png" for k in range(COUNT)}
    with pytest.raises(InputError, match=r"left_00000000\.png and left_00000001\.png are both of one frame"):
        read_user_masks(mask_folder(tmp_path / "both", names), source)


def test_a_mask_that_images_of_two_sources_are_called_like_is_refused(tmp_path):
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        for k, frame in enumerate(moving_frames(3)):
            cv2.imwrite(str(tmp_path / side / f"{k + 1}.png"), frame)
    source = open_sources([tmp_path / "left", tmp_path / "right"], FramesConfig())
    in_run = mask_folder(tmp_path / "in_run", {1: "left_00000001.png", 3: "right_00000000.png.png"})
    assert sorted(read_user_masks(in_run, source).files) == [1, 3]
    with pytest.raises(InputError, match=r"2\.png has the name of images of 2 sources; .* such as left_00000001\.png"):
        read_user_masks(mask_folder(tmp_path / "alike", {1: "2.png"}), source)
