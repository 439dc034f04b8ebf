"""A crop, or one half of stereo pictures, in place of whole pictures."""

import cv2
import numpy as np
import pytest
from conftest import circle_mask, moving_frames
from test_frames import extract

from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask, write_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.notes import NoteCode

COUNT = 6


def write_folder(folder, frames):
    folder.mkdir()
    for k, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{k}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return folder


@pytest.fixture
def framed(tmp_path):
    """Pictures with a menu beside the view: what is used begins at 40, 20."""
    frames = moving_frames(COUNT)
    framed = [cv2.copyMakeBorder(frame, 20, 10, 40, 0, cv2.BORDER_CONSTANT, value=(255, 255, 0)) for frame in frames]
    return write_folder(tmp_path / "images", framed), frames


def test_a_crop_comes_before_anything_else(framed, tmp_path):
    folder, frames = framed
    write_folder(tmp_path / "plain", frames)
    plain = extract(tmp_path / "plain", tmp_path / "a", calibration="150,150,80,60")
    cropped = extract(folder, tmp_path / "b", "frames.crop=[40,20,160,120]", calibration="150,150,120,80")
    assert cropped.camera == plain.camera
    assert cropped.field_of_view_px == plain.field_of_view_px
    for one, other in zip(plain.frames, cropped.frames, strict=True):
        assert (read_image(one.path) == read_image(other.path)).all()
        assert (read_mask(one.mask_path) == read_mask(other.mask_path)).all()
    stored = read_frames(tmp_path / "b")
    assert (stored.width, stored.height, stored.crop) == (160, 120, (40, 20, 160, 120))
    assert read_frames(tmp_path / "a").crop is None


def test_a_calibration_of_another_size_is_scaled_or_cut(framed, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV 400 300 300 300 240 160 -0.2 0 0 0\n")
    extract(framed[0], tmp_path / "a", "frames.min_motion_px=0", calibration=str(path))
    found = read_frames(tmp_path / "a")
    assert found.lens.params == (150, 150, 120, 80, -0.2, 0, 0, 0)
    assert NoteCode.CALIBRATION_SCALED in {note.code for note in found.notes}
    still = "frames.min_motion_px=0"
    extract(framed[0], tmp_path / "b", still, "camera.calibration_crop=[40,30,300,225]", calibration=str(path))
    found = read_frames(tmp_path / "b")
    assert found.lens.params == pytest.approx((200, 200, 200 / 1.5, 130 / 1.5, -0.2, 0, 0, 0))
    assert NoteCode.CALIBRATION_CROPPED in {note.code for note in found.notes}


@pytest.mark.parametrize(
    "camera",
    ["200 150 150 150 120 80 -0.2 0 0 0", "160 120 150 150 80 60 -0.2 0 0 0"],
    ids=["of the whole picture", "of the part"],
)
def test_a_calibration_with_a_size_is_of_what_has_that_size(framed, tmp_path, camera):
    path = tmp_path / "cameras.txt"
    path.write_text(f"1 OPENCV {camera}\n")
    extract(framed[0], tmp_path / "run", "frames.crop=[40,20,160,120]", calibration=str(path))
    lens = read_frames(tmp_path / "run").lens
    assert lens.params == (150, 150, 80, 60, -0.2, 0, 0, 0)
    path.write_text("1 OPENCV 640 400 150 150 80 60 -0.2 0 0 0\n")
    with pytest.raises(InputError, match="made for 640x400 pixels"):
        extract(framed[0], tmp_path / "other", "frames.crop=[40,20,160,120]", calibration=str(path))


def test_a_mask_may_be_of_the_whole_picture_or_of_the_part(framed, tmp_path):
    mask = circle_mask(120, 160, 40)
    write_mask(tmp_path / "part.png", mask)
    write_mask(tmp_path / "whole.png", np.pad(mask, ((20, 10), (40, 0))))
    write_mask(tmp_path / "other.png", mask[:60])
    settings = ("frames.crop=[40,20,160,120]", "masks.erode_px=0")
    for name in ("part", "whole"):
        found = extract(framed[0], tmp_path / name, *settings, mask=tmp_path / f"{name}.png")
        assert (read_mask(found.frames[0].mask_path) == mask).mean() > 0.99
    with pytest.raises(InputError, match="160x60 pixels; expected 160x120, as the frames or 200x150, as the whole"):
        extract(framed[0], tmp_path / "wrong", *settings, mask=tmp_path / "other.png")


@pytest.mark.parametrize(
    ("crop", "says"),
    [
        ("[100,20,160,120]", "part 100,20,160,120 reaches to 260,140 in pictures of 200x150 pixels"),
        ("[0,0,8,120]", "part 0,0,8,120 8x120 pixels; at least 16 each"),
    ],
)
def test_a_crop_that_does_not_fit(framed, tmp_path, crop, says):
    with pytest.raises(InputError, match=says):
        extract(framed[0], tmp_path / "run", f"frames.crop={crop}")


def stereo_pictures(axis):
    """The views of two eyes, a few frames apart along the path, beside or above each other."""
    frames = moving_frames(COUNT + 2)
    return frames, [np.concatenate([frames[k], frames[k + 2]], axis) for k in range(COUNT)]


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("calibration", ["150,150,80,60", None])
def test_one_half_of_stereo_pictures(tmp_path, side, calibration):
    frames, pictures = stereo_pictures(axis=1 if side in ("left", "right") else 0)
    folder = write_folder(tmp_path / "images", pictures)
    found = extract(folder, tmp_path / "run", f"frames.stereo={side}", calibration=calibration)
    shift = 0 if side in ("left", "top") else 2
    assert all((read_image(found.frames[k].path) == frames[k + shift]).all() for k in range(COUNT))
    if calibration:
        # Without a size it is the half's, which is one camera's picture.
        assert (found.camera.cx, found.camera.cy) == (79.5, 59.5)
    assert NoteCode.STEREO_HALF in [note.code for note in read_frames(tmp_path / "run").notes]


def test_a_calibration_of_the_whole_stereo_picture(tmp_path):
    folder = write_folder(tmp_path / "images", stereo_pictures(axis=1)[1])
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 320 120 150 150 240 60\n")
    for name, text in (("a", str(tmp_path / "cameras.txt")), ("b", "150,150,240,60")):
        found = extract(folder, tmp_path / name, "frames.stereo=right", calibration=text)
        assert (found.camera.cx, found.camera.cy) == (79.5, 59.5)
